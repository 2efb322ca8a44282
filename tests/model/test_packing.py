"""Packing: nothing is lost, nothing is over-full, and a packed pair is computed as if it were alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.model.attention import NAME
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair, common_prefix, fill, pack, pack_groups
from gradatim.model.scoring import log_probabilities
from tests.model.reference import alone, random_pairs, trained
from tests.tiny import TINY, tiny_base

QUICK = settings(deadline=None, max_examples=100, derandomize=True)
TOKENS = st.lists(st.integers(3, 6), min_size=1, max_size=9).map(tuple)
PAIRS = st.builds(
    lambda opening, ends: [Pair(opening + prompt, target) for prompt, target in ends],
    TOKENS,
    st.lists(st.tuples(TOKENS, st.lists(st.integers(3, 6), max_size=5).map(tuple)), min_size=1, max_size=8),
)


# ------------------------------------------------------------------ properties


@QUICK
@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 25))
def test_fill_loses_nothing_and_respects_the_room(lengths: list[int], room: int) -> None:
    bins = fill(lengths, room)
    assert sorted(index for bin_ in bins for index in bin_) == list(range(len(lengths)))
    assert all(sorted(bin_) == bin_ and bin_ for bin_ in bins)
    for bin_ in bins:
        if sum(lengths[i] for i in bin_) > room:
            assert [length for i in bin_ if (length := lengths[i])] == [max(lengths[i] for i in bin_)]
    # First fit: what opened a bin had no place in an earlier one.
    for later in range(1, len(bins)):
        opener = bins[later][0]
        for earlier in bins[:later]:
            assert sum(lengths[i] for i in earlier if i < opener) + lengths[opener] > room


@QUICK
@given(st.lists(TOKENS, min_size=1, max_size=6), TOKENS)
def test_the_common_prefix_is_common_longest_and_leaves_a_token(
    ends: list[tuple[int, ...]], start: tuple[int, ...]
) -> None:
    prompts = [start + end for end in ends]
    count = common_prefix(prompts)
    assert len(start) <= count < min(map(len, prompts))
    assert len({prompt[:count] for prompt in prompts}) == 1
    longer = {prompt[: count + 1] for prompt in prompts}
    assert len(longer) > 1 or count + 1 == min(map(len, prompts))


@QUICK
@given(PAIRS, st.integers(1, 60), st.lists(st.integers(0, 8), max_size=3))
def test_every_label_sees_its_own_text_and_nothing_else(pairs: list[Pair], row_tokens: int, cuts: list[int]) -> None:
    edges = sorted([0, *(cut % (len(pairs) + 1) for cut in cuts), len(pairs)])
    groups = [pairs[start:stop] for start, stop in pairwise(edges)]
    packed, rows = pack_groups(groups, row_tokens)
    width = packed.ids_RT.shape[1]
    assert packed.rows == rows * len(groups)
    assert packed.tokens == packed.rows * width
    owners = [group for group, members in enumerate(groups) for _ in members]
    seen: list[list[int]] = [[] for _ in pairs]
    for source, label, which in zip(
        packed.sources_L.tolist(), packed.labels_L.tolist(), packed.pairs_L.tolist(), strict=True
    ):
        row, place = divmod(source, width)
        assert row // rows == owners[which]
        visible = packed.mask_R1TT[row, 0, place]
        expected = pairs[which].prompt + tuple(seen[which])
        assert tuple(packed.ids_RT[row][visible].tolist()) == expected
        assert packed.positions_RT[row][visible].tolist() == list(range(len(expected)))
        seen[which].append(label)
    assert [tuple(target) for target in seen] == [pair.target for pair in pairs]
    assert bool(packed.mask_R1TT.any(-1).all())  # no softmax over nothing


def test_what_can_not_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="without a prompt"):
        pack([Pair((5, 6), (7,)), Pair((), (7,))])
    with pytest.raises(ValueError, match="empty"):
        pack([])


def test_pack_is_one_group() -> None:
    pairs = random_pairs(0, 6, 3)
    one, (other, rows) = pack(pairs, 24), pack_groups([pairs], 24)
    assert rows == one.rows > 1
    assert torch.equal(one.ids_RT, other.ids_RT)
    assert torch.equal(one.mask_R1TT, other.mask_R1TT)


# ------------------------------------------------------------------ against the plain model


@pytest.mark.parametrize(("shared", "row_tokens"), [(7, 40), (0, 30), (12, 256)])
@pytest.mark.parametrize("kernel", ["sdpa", "eager", NAME])
@pytest.mark.parametrize("kind", list(TINY))
def test_packed_pairs_have_the_log_probabilities_and_gradients_of_each_alone(
    kind: str, kernel: str, shared: int, row_tokens: int
) -> None:
    bank = AdapterBank(tiny_base(kind, attention=kernel))
    adapter = trained(bank, "a")
    pairs = random_pairs(3, 9, shared)
    packed = pack(pairs, row_tokens)
    got = log_probabilities(bank, packed, ["a"] * packed.rows)
    got.sum().backward()  # type: ignore[no-untyped-call]
    gradient = adapter.gradient.clone()
    adapter.gradient.zero_()
    with bank.rows(["a"]):
        expected = [alone(bank.base.model, pair) for pair in pairs]
    torch.cat(expected).sum().backward()  # type: ignore[no-untyped-call]
    for index, values in enumerate(expected):
        torch.testing.assert_close(got[packed.pairs_L == index], values, rtol=0, atol=1e-5)
    assert (gradient - adapter.gradient).abs().max() <= 1e-5 * adapter.gradient.abs().max()


def test_packed_groups_are_each_as_alone() -> None:
    bank = AdapterBank(tiny_base())
    names = ["a", None, "b"]
    trained(bank, "a", rank=2, seed=0)
    trained(bank, "b", rank=4, seed=1)
    pairs = random_pairs(4, 14, 5)
    groups = [pairs[:2], pairs[2:10], pairs[10:]]  # the first is filled up with empty rows
    packed, rows = pack_groups(groups, 30)
    used = set((packed.sources_L // packed.ids_RT.shape[1]).tolist())
    assert rows > 1
    assert len(used) < packed.rows
    got = log_probabilities(bank, packed, [name for name in names for _ in range(rows)])
    got.sum().backward()  # type: ignore[no-untyped-call]
    gradients = {key: bank.adapters[key].gradient.clone() for key in "ab"}
    for key in "ab":
        bank.adapters[key].gradient.zero_()
    for name, group in zip(names, groups, strict=True):
        for pair in group:
            with bank.rows([name]):
                expected = alone(bank.base.model, pair)
            torch.testing.assert_close(got[packed.pairs_L == pairs.index(pair)], expected, rtol=0, atol=1e-5)
            if name is not None:
                expected.sum().backward()  # type: ignore[no-untyped-call]
    for key, gradient in gradients.items():
        apart = bank.adapters[key].gradient
        assert (gradient - apart).abs().max() <= 1e-5 * apart.abs().max()
