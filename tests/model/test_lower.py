"""Entering the base midway gives what running it whole gives, and each text's lower blocks run once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradatim.model.bank import AdapterBank
from gradatim.model.lower import LowerBlocks, lowest_block
from gradatim.model.packing import Pair, pack_groups
from gradatim.model.scoring import label_logits
from tests.model.reference import random_pairs, trained
from tests.tiny import TINY, tiny_base

BLOCKS = 4
DEPTH: dict[str, dict[str, Any]] = {
    kind: {"n_layer" if kind == "gpt2" else "num_hidden_layers": BLOCKS} for kind in TINY
}


def made(kind: str = "llama", first: int = 2) -> AdapterBank:
    bank = AdapterBank(tiny_base(kind, **DEPTH[kind]))
    for seed, name in enumerate("ab"):
        trained(bank, name, 2 + seed, seed=seed, layers=range(first, BLOCKS))
    return bank


def run(bank: AdapterBank, groups: list[list[Pair]], lower: LowerBlocks | None, wholes: list[Pair]) -> list[Tensor]:
    """Logits, and the gradients of both adapters."""
    for adapter in bank.adapters.values():
        adapter.gradient.zero_()
    logits = label_logits(bank, pack_groups(groups), ["a", "b"], lower, wholes)
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    return [logits.detach(), *(adapter.gradient.clone() for adapter in bank.adapters.values())]


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("kind", list(TINY))
def test_logits_and_gradients_are_those_of_the_whole_model(kind: str, first: int) -> None:
    bank = made(kind, first)
    lower = LowerBlocks(bank, min(map(lowest_block, bank.adapters.values())))
    assert lower.supported
    assert lower.first == first
    pairs = random_pairs(0, 7, 5)
    for _ in range(2):  # computed, and then from memory
        for got, expected in zip(
            run(bank, [pairs[:3], pairs[3:]], lower, pairs), run(bank, [pairs[:3], pairs[3:]], None, []), strict=True
        ):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert (lower.computed, lower.reused) == (7, 7)


def test_alone_in_its_batch_a_text_from_memory_is_the_same_bit_for_bit() -> None:
    bank = made()
    lower = LowerBlocks(bank, 2)
    groups = [random_pairs(1, 4, 5), random_pairs(2, 3, 5)]
    wholes = [pair for group in groups for pair in group]
    first, again = (run(bank, groups, lower, wholes) for _ in range(2))
    assert all(map(torch.equal, first, again))


def test_an_opening_is_taken_from_the_whole_text_whatever_the_prefix() -> None:
    bank = made()
    lower = LowerBlocks(bank, 2)
    wholes = [Pair(pair.prompt, (*pair.target, 9, 8, 7)) for pair in random_pairs(3, 6, 4)]
    lower.enter(pack_groups([wholes]), wholes)
    openings = [Pair(pair.prompt, pair.target[:2]) for pair in wholes]
    for groups in ([openings[:2], openings[2:]], [openings[:1], openings[1:2]]):
        shown = wholes[: sum(map(len, groups))]
        for got, expected in zip(run(bank, groups, lower, shown), run(bank, groups, None, []), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert lower.computed == len(wholes)


def test_what_was_not_asked_for_longest_leaves_first() -> None:
    bank = made()
    pairs = random_pairs(4, 8, 3)
    size = 32 * 4
    lower = LowerBlocks(bank, 2, room=sum(map(len, pairs[:4])) * size)
    for pair in pairs[:4]:
        lower.enter(pack_groups([[pair]]), [pair])
    lower.enter(pack_groups([[pairs[0]]]), [pairs[0]])
    assert (lower.computed, lower.reused) == (4, 1)
    lower.enter(pack_groups([[pairs[5]]]), [pairs[5]])
    lower.enter(pack_groups([[pairs[0]]]), [pairs[0]])
    assert (lower.computed, lower.reused) == (5, 2)
    lower.enter(pack_groups([[pairs[1]]]), [pairs[1]])
    assert lower.computed == 6


def test_where_nothing_lies_below_or_above_it_is_not_supported() -> None:
    bank = made()
    assert [LowerBlocks(bank, first).supported for first in range(BLOCKS + 1)] == [False, True, True, True, False]


def test_the_base_is_whole_again_afterwards() -> None:
    bank = made()
    ids = torch.arange(3, 13)[None]
    before = bank.base.model(ids).logits
    lower = LowerBlocks(bank, 2)
    pairs = random_pairs(5, 3, 3)
    run(bank, [pairs[:1], pairs[1:]], lower, pairs)
    with pytest.raises(RuntimeError, match="on purpose"), lower.above(torch.zeros(10, 32)):
        raise RuntimeError("on purpose")
    assert torch.equal(bank.base.model(ids).logits, before)
