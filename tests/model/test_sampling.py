"""Sampling a mixed batch gives each prompt what it would be given alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from gradatim.model.bank import AdapterBank
from gradatim.model.base import Base
from gradatim.model.sampling import NUCLEUS, Decoding, choose_each, sample
from tests.model.reference import PEFT_IS_BEHIND, greedy_alone, random_ids, trained, with_peft
from tests.tiny import TINY, VOCABULARY, tiny_base

TOKENS = 14
OPENING = random_ids(0, 1, 9)[0].tolist()
ENDS = [random_ids(seed, 1, 1 + seed % 6)[0].tolist() for seed in range(1, 10)]
PROMPTS = {
    "shared prefix": [OPENING + end for end in ENDS],
    "one inside another": [OPENING + ENDS[4][:length] for length in range(6)],
    "nothing shared": ENDS,
    "equal prompts": [OPENING, OPENING + ENDS[1]] * 4,
}
NAMES = ["a", None, "b"]


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    return bank_of("llama")


def bank_of(kind: str, **settings: Any) -> AdapterBank:
    bank = AdapterBank(tiny_base(kind, **settings))
    trained(bank, "a", rank=2, seed=0)
    trained(bank, "b", rank=4, seed=1)
    return bank


# ------------------------------------------------------------------ greedy


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
@pytest.mark.parametrize("kind", list(TINY))
def test_greedy_replies_are_those_of_generate_with_peft(kind: str) -> None:
    bank = bank_of(kind)
    models = {name: with_peft(kind, adapter) for name, adapter in bank.adapters.items()}
    plain = TINY[kind]()
    assert common_replies(bank, plain) < 0.5  # the adapters matter
    for case, prompts in PROMPTS.items():
        names = [NAMES[i % 3] for i in range(len(prompts))]
        expected = [
            greedy_alone(models.get(name or "", plain), prompt, TOKENS)
            for prompt, name in zip(prompts, names, strict=True)
        ]
        assert sample(bank, prompts, names, Decoding(max_tokens=TOKENS)) == expected, case


def common_replies(bank: AdapterBank, plain: object) -> float:
    prompts = PROMPTS["shared prefix"]
    mine = sample(bank, prompts, "a", Decoding(max_tokens=TOKENS))
    return sum(reply == greedy_alone(plain, prompt, TOKENS) for reply, prompt in zip(mine, prompts, strict=True)) / 9


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
def test_greedy_replies_are_those_of_merged_weights(bank: AdapterBank) -> None:
    prompts = PROMPTS["shared prefix"]
    merged = with_peft("llama", bank.adapters["b"]).merge_and_unload()
    expected = [greedy_alone(merged, prompt, TOKENS) for prompt in prompts]
    assert sample(bank, prompts, "b", Decoding(max_tokens=TOKENS)) == expected


@pytest.mark.slow
def test_the_bundled_model_replies_as_it_does_alone(bundled: Base) -> None:
    questions = ["What is the capital of France?", "Who wrote Hamlet?", "What is 2 + 2?"]
    prompts = [bundled.chat.prompt(question) for question in questions]
    expected = [greedy_alone(bundled.model, prompt, 12) for prompt in prompts]
    bank = AdapterBank(bundled)
    try:
        got = sample(bank, prompts, None, Decoding(max_tokens=12))
    finally:
        bank.detach()
    assert got == expected
    assert "Paris" in bundled.chat.text(got[0])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_size_of_the_batch_changes_nothing(bank: AdapterBank, batch: int) -> None:
    prompts = PROMPTS["shared prefix"]
    names = [NAMES[i % 3] for i in range(len(prompts))]
    told: list[int] = []
    got = sample(bank, prompts, names, Decoding(max_tokens=TOKENS, batch=batch), told.append)
    assert got == sample(bank, prompts, names, Decoding(max_tokens=TOKENS))
    assert sum(told) == len(prompts)


@pytest.mark.parametrize("kind", list(TINY))
@pytest.mark.parametrize("batch", [3, 4, 8])
def test_prompts_join_as_others_end_and_nobody_notices(kind: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of(kind)
    prompts = [PROMPTS["shared prefix"][i % 9] + ENDS[i // 9] for i in range(24)]
    names = [NAMES[i % 3] for i in range(len(prompts))]
    whole = sample(bank, prompts, names, Decoding(max_tokens=TOKENS, batch=24))
    ends = tuple({reply[i % TOKENS] for i, reply in enumerate(whole)})[:6]
    cut = [reply[: min((reply.index(end) for end in ends if end in reply), default=TOKENS)] for reply in whole]
    widths = []
    rows = bank.rows

    def watched(named: Sequence[str | None]) -> AbstractContextManager[None]:
        widths.append(len(named))
        return rows(named)

    monkeypatch.setattr(bank, "rows", watched)
    assert sample(bank, prompts, names, Decoding(max_tokens=TOKENS, batch=batch, stop=ends)) == cut
    assert max(widths) == batch
    assert any(a < b for a, b in pairwise(widths[4:]))  # a batch grew again


def test_a_model_with_sliding_windows_is_decoded_in_fixed_batches() -> None:
    settings: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
    bank = AdapterBank(tiny_base("qwen2", **settings))
    plain = TINY["qwen2"](**settings)
    prompts = [end[:3] for end in ENDS]
    expected = [greedy_alone(plain, prompt, TOKENS) for prompt in prompts]
    got = [sample(bank, [prompt], None, Decoding(max_tokens=TOKENS))[0] for prompt in prompts]
    assert got == expected


def test_nothing_asked_is_nothing_answered(bank: AdapterBank) -> None:
    assert sample(bank, []) == []
    assert sample(bank, PROMPTS["shared prefix"][:2], None, Decoding(max_tokens=0)) == [[], []]


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_tokens_is_honoured(bank: AdapterBank, most: int) -> None:
    prompts = PROMPTS["shared prefix"]
    whole = sample(bank, prompts, "a", Decoding(max_tokens=TOKENS))
    assert sample(bank, prompts, "a", Decoding(max_tokens=most)) == [reply[:most] for reply in whole]


@pytest.mark.parametrize("kind", list(TINY))
@pytest.mark.parametrize("how", ["stop", "end tokens"])
def test_rows_that_end_early_leave_without_changing_the_others(kind: str, how: str) -> None:
    bank = bank_of(kind)
    prompts = PROMPTS["shared prefix"] + PROMPTS["nothing shared"]
    names = [NAMES[i % 3] for i in range(len(prompts))]
    whole = sample(bank, prompts, names, Decoding(max_tokens=TOKENS))
    assert {len(reply) for reply in whole} == {TOKENS}
    ends = (whole[0][0], whole[1][3], whole[2][5], whole[3][5], whole[4][8])  # rows end at different steps, one at once
    cut = [reply[: min((reply.index(end) for end in ends if end in reply), default=TOKENS)] for reply in whole]
    assert len({len(reply) for reply in cut}) > 4
    if how == "stop":
        got = sample(bank, prompts, names, Decoding(max_tokens=TOKENS, stop=ends))
    else:
        bank.base.chat.end_tokens = frozenset(ends)
        got = sample(bank, prompts, names, Decoding(max_tokens=TOKENS))
    assert got == cut


# ------------------------------------------------------------------ chance


def test_a_seed_reproduces_and_another_differs(bank: AdapterBank) -> None:
    prompts = PROMPTS["shared prefix"]
    names = [NAMES[i % 3] for i in range(len(prompts))]

    def drawn(seed: int) -> list[list[int]]:
        return sample(bank, prompts, names, Decoding(max_tokens=TOKENS, temperature=1.0, seed=seed, batch=4))

    first = drawn(7)
    torch.manual_seed(0)  # the global generator plays no part
    assert drawn(7) == first
    assert drawn(8) != first


def test_equal_prompts_are_sampled_apart(bank: AdapterBank) -> None:
    made = sample(bank, [OPENING] * 20, "a", Decoding(max_tokens=TOKENS, temperature=1.0))
    assert len({tuple(reply) for reply in made}) == 20


def next_token(bank: AdapterBank, temperature: float) -> Tensor:
    with bank.rows(["a"]), torch.no_grad():
        logits = bank.base.model(torch.tensor([OPENING])).logits[0, -1]
    probabilities: Tensor = (logits / temperature).softmax(-1)
    probabilities[probabilities.argsort(descending=True)[NUCLEUS:]] = 0
    return probabilities


def drawn_tokens(bank: AdapterBank, count: int, **how: float) -> list[int]:
    made = sample(bank, [OPENING] * count, "a", Decoding(max_tokens=1, batch=count, **how))  # type: ignore[arg-type]
    return [reply[0] if reply else 2 for reply in made]  # an end token is left out of its reply


def assert_frequencies(tokens: list[int], expected: Tensor) -> None:
    """A chi-square test at one in ten thousand; tokens expected less than five times are counted together."""
    counts = torch.bincount(torch.tensor(tokens), minlength=VOCABULARY).double()
    wanted = expected.double() / expected.double().sum() * len(tokens)
    assert counts[wanted == 0].sum() == 0
    rare = wanted < 5
    observed = torch.cat([counts[~rare], counts[rare].sum()[None]])
    predicted = torch.cat([wanted[~rare], wanted[rare].sum()[None]])
    if predicted[-1] < 5:
        observed, predicted = observed[:-1], predicted[:-1]
        predicted = predicted * observed.sum() / predicted.sum()
    assert len(observed) > 3
    assert chisquare(observed.numpy(), predicted.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.0])
def test_frequencies_follow_the_softmax(bank: AdapterBank, temperature: float) -> None:
    tokens = drawn_tokens(bank, 4000, temperature=temperature)
    assert_frequencies(tokens, next_token(bank, temperature))


@pytest.mark.parametrize("top_p", [0.3, 0.7, 0.95])
def test_top_p_keeps_the_smallest_set_that_reaches_it(bank: AdapterBank, top_p: float) -> None:
    probabilities = next_token(bank, 1.5)
    nucleus: list[int] = []
    for token in probabilities.argsort(descending=True).tolist():
        nucleus.append(token)
        if float(probabilities[nucleus].sum()) >= top_p:
            break
    tokens = drawn_tokens(bank, 4000, temperature=1.5, top_p=top_p)
    assert set(tokens) <= set(nucleus)
    kept = torch.zeros_like(probabilities)
    kept[nucleus] = probabilities[nucleus]
    assert_frequencies(tokens, kept)


def test_a_tiny_top_p_or_temperature_is_greedy(bank: AdapterBank) -> None:
    prompts = PROMPTS["shared prefix"]
    greedy = sample(bank, prompts, "a", Decoding(max_tokens=TOKENS))
    for how in (Decoding(TOKENS, temperature=1.0, top_p=1e-6), Decoding(TOKENS, temperature=1e-4)):
        assert sample(bank, prompts, "a", how) == greedy


def test_each_row_is_drawn_in_its_own_way_and_by_its_own_chance() -> None:
    logits_RV = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(0))
    ways = [Decoding(), Decoding(temperature=1.0), Decoding(temperature=1.0, top_p=1e-6), Decoding(temperature=1.0)]

    def drawn(rows: list[int]) -> list[int]:
        generators = [torch.Generator().manual_seed(row) for row in rows]
        chosen: list[int] = choose_each(logits_RV[rows], [ways[row] for row in rows], generators).tolist()
        return chosen

    together, greedy = drawn([0, 1, 2, 3]), logits_RV.argmax(-1).tolist()
    assert together == [drawn([row])[0] for row in range(4)]
    assert (together[0], together[2]) == (greedy[0], greedy[2])
    assert together[1] != greedy[1] or together[3] != greedy[3]
