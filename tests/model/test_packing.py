"""Packing: nothing is lost, nothing is over-full, and a packed pair is computed as if it were alone."""

from __future__ import annotations

from itertools import accumulate, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Packed, Pair, common_prefix, pack, pack_groups
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
@given(PAIRS, st.lists(st.integers(0, 8), max_size=3), st.booleans())
def test_every_label_sees_its_own_text_and_nothing_else(pairs: list[Pair], cuts: list[int], share: bool) -> None:
    edges = sorted([0, *(cut % (len(pairs) + 1) for cut in cuts), len(pairs)])
    groups = [pairs[start:stop] for start, stop in pairwise(edges)]
    packed = pack_groups(groups, share_prefix=share)
    seen_by = visible(packed)
    prefix = common_prefix([pair.prompt for pair in pairs]) if share else 0
    assert packed.tokens == sum(len(p) - prefix for p in pairs) + prefix * sum(bool(group) for group in groups)
    assert sum(packed.sizes) == packed.tokens
    owner = [group for group, members in enumerate(groups) for _ in members]
    ends = list(accumulate(packed.sizes))
    seen: list[list[int]] = [[] for _ in pairs]
    for source, label, which in zip(
        packed.sources_L.tolist(), packed.labels_L.tolist(), packed.pairs_L.tolist(), strict=True
    ):
        assert ends[owner[which]] - packed.sizes[owner[which]] <= source < ends[owner[which]]
        expected = pairs[which].prompt + tuple(seen[which])
        assert tuple(packed.ids_T[seen_by[source]].tolist()) == expected
        assert packed.positions_T[seen_by[source]].tolist() == list(range(len(expected)))
        seen[which].append(label)
    assert [tuple(target) for target in seen] == [pair.target for pair in pairs]


def visible(packed: Packed) -> list[list[int]]:
    """For each position of the line, the positions its attention sees, by its rectangle."""
    layout = packed.layout
    places: list[list[int]] = []
    for rectangle in layout.rectangles:
        shown = layout.inputs_P[rectangle.start :][: rectangle.sequences * rectangle.width].view(-1, rectangle.width)
        first = layout.rectangles[0]
        prefixes = layout.inputs_P[: first.sequences * first.width].view(-1, first.width)
        for s, q in product(range(rectangle.sequences), range(rectangle.width)):
            before = [] if rectangle.prefixes_S is None else prefixes[rectangle.prefixes_S[s]].tolist()
            keys = torch.tensor([*before, *shown[s].tolist()])
            places.append(keys[rectangle.mask_SQK[min(s, len(rectangle.mask_SQK) - 1), q]].tolist())
    assert all(places)  # no softmax over nothing
    return [places[output] for output in layout.outputs_T.tolist()]


def test_what_can_not_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="without a prompt"):
        pack([Pair((5, 6), (7,)), Pair((), (7,))])
    with pytest.raises(ValueError, match="empty"):
        pack([])


def test_texts_of_unlike_length_do_not_share_a_rectangle() -> None:
    pairs = [Pair(tuple(range(3, 3 + length)), ()) for length in (5, 9, 70, 100, 300)]
    shapes = [(r.sequences, *r.mask_SQK.shape[1:]) for r in pack_groups([pairs], share_prefix=False).layout.rectangles]
    assert shapes == [(2, 9, 9), (2, 100, 100), (1, 300, 300)]


# ------------------------------------------------------------------ against the plain model


@pytest.mark.parametrize("shared", [0, 7, 12])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", list(TINY))
def test_packed_pairs_have_the_log_probabilities_and_gradients_of_each_alone(
    kind: str, shared: int, share: bool
) -> None:
    bank = AdapterBank(tiny_base(kind))
    adapter = trained(bank, "a")
    pairs = random_pairs(3, 9, shared)
    packed = pack_groups([pairs], share_prefix=share)
    got = log_probabilities(bank, packed, ["a"])
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
    groups = [pairs[:2], pairs[2:10], pairs[10:]]
    packed = pack_groups(groups)
    got = log_probabilities(bank, packed, names)
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
