"""A prompt that is run from a known beginning gives what it gives when it is run whole."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from gradatim.model.bank import AdapterBank
from gradatim.model.prefixes import FEWEST, PROMPTS, Prefixes
from gradatim.model.sampling import Decoding, Entering, Rows
from tests.model.reference import trained
from tests.tiny import VOCABULARY, tiny_base

NAMES = (None, "a", "b")


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    bank = AdapterBank(tiny_base("llama"))
    trained(bank, "a", rank=2, seed=0)
    trained(bank, "b", rank=4, seed=1)
    return bank


def conversations(count: int, seed: int = 0) -> list[list[int]]:
    """Prompts of which many begin alike: a few openings, and conversations that go on."""
    choose = random.Random(seed)
    openings = [[choose.randrange(VOCABULARY) for _ in range(length)] for length in (0, 3, 12, 40)]
    made: list[list[int]] = []
    for _ in range(count):
        begin = choose.choice(made) if made and choose.random() < 0.4 else choose.choice(openings)
        made.append(begin + [choose.randrange(VOCABULARY) for _ in range(choose.randint(1, 20))])
    return made


def next_logits(bank: AdapterBank, prompts: list[list[int]], names: list[str | None], known: Prefixes | None) -> Tensor:
    rows = Rows(bank, Decoding(), known)
    rows.admit([*range(len(prompts))], prompts, names)
    order = sorted(range(len(prompts)), key=lambda row: rows.indices[row])
    first = rows.logits_RV
    rows.run(first.argmax(-1))
    return torch.cat([first[order], rows.logits_RV[order]])


@torch.inference_mode()
@pytest.mark.parametrize("together", [1, 3])
def test_what_comes_next_is_the_same_and_fewer_tokens_are_run(bank: AdapterBank, together: int) -> None:
    run: list[int] = []
    seen = bank.base.backbone.register_forward_pre_hook(
        lambda _, __, given: run.append(given["input_ids"].numel()), with_kwargs=True
    )
    known, spent = Prefixes(2000), {True: 0, False: 0}
    prompts, choose = conversations(60), random.Random(1)
    for start in range(0, len(prompts), together):
        some = prompts[start : start + together]
        names = sorted((choose.choice(NAMES) for _ in some), key=str)
        given = {}
        for kept in (True, False):
            run.clear()
            given[kept] = next_logits(bank, some, names, known if kept else None)
            spent[kept] += sum(run)
        torch.testing.assert_close(given[True], given[False], rtol=1e-4, atol=1e-4)
    seen.remove()
    assert spent[True] < 0.8 * spent[False]


@torch.inference_mode()
def test_a_prompt_that_is_run_in_pieces_begins_where_a_known_one_ends(bank: AdapterBank) -> None:
    known, opening = Prefixes(2000), [*range(1, 30)]
    begun = Entering(bank, [*opening, 40, 41], "a", known)
    while begun.left:
        begun.advance(10)
    begun.row()
    after = Entering(bank, [*opening, 50, 51, 52], "a", known)
    assert after.left == 3
    after.advance(10)
    rows = Rows(bank, Decoding(), known)
    rows.enter(0, after)
    alone = Rows(bank, Decoding())
    alone.admit([0], [[*opening, 50, 51, 52]], ["a"])
    torch.testing.assert_close(rows.logits_RV, alone.logits_RV, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_beginning_is_known_to_its_own_adapter_only(bank: AdapterBank) -> None:
    known, prompt = Prefixes(2000), [*range(1, 30)]
    Rows(bank, Decoding(), known).admit([0], [prompt], ["a"])
    assert known.find("a", [*prompt, 3])[0] == 28
    assert known.find("b", [*prompt, 3]) == (0, [])
    assert known.find(None, [*prompt, 3]) == (0, [])


@torch.inference_mode()
def test_no_more_is_kept_than_there_may_be_and_what_is_used_stays(bank: AdapterBank) -> None:
    known, rows = Prefixes(200), Rows(bank, Decoding())
    favourite = [1, *range(20, 49)]
    for number in range(3 * PROMPTS):
        for prompt in ([2 + number % 90, *range(60, 60 + number % 30)], [*favourite, number % 7]):
            rows = Rows(bank, Decoding(), known)
            rows.admit([0], [prompt], [None])
            assert known.tokens <= 200
            assert len(known._kept) <= PROMPTS
    assert known.find(None, [*favourite, 9])[0] == len(favourite)
    assert known.find(None, favourite[: FEWEST - 1])[0] == 0
    assert rows.indices == [0]
