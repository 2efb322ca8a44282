"""Lay prompt–target pairs end to end, without any padding, a prompt prefix that all share once per group.

All tokens of a batch stand in one line: [prefix | pair 1 | pair 2 | … | prefix | pair 1 | …], a group per adapter.
Linear layers see nothing but these tokens. Attention alone needs to know what belongs together: it gathers sequences
of like length into small rectangles, where each pair sees its group's prefix and itself. Positions go on from the
prefix. So every token is computed in exactly the context it would have alone.

Shape letters: T positions in the line, S sequences of a rectangle, Q queries and K keys of a sequence, L labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_FINEST = 16  # sequences up to this long share a rectangle; beyond, those between two powers of two do


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of a prompt and of the target to be predicted after it."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Sequences of like length for attention: S rows of Q places each, from place `start` on."""

    start: int
    sequences: int
    width: int
    mask_SQK: Tensor  # True where a query may look (additive once on a device); one row where all lengths are equal
    prefixes_S: Tensor | None  # which of the prefixes in the first rectangle stands before each sequence


@dataclass(frozen=True, slots=True)
class Layout:
    """How a line is folded into rectangles for attention, and back. Places P count through all rectangles, padded."""

    rectangles: tuple[Rectangle, ...]
    inputs_P: Tensor  # the position that each place shows; padding shows the last of its sequence
    outputs_T: Tensor  # the place of each position

    @property
    def longest(self) -> int:
        """Most keys that a query sees."""
        return max(rectangle.mask_SQK.shape[2] for rectangle in self.rectangles)

    @property
    def straight(self) -> bool:
        """Whether all sequences have one length, so that folding needs no copy."""
        return len(self.rectangles) == 1 and len(self.inputs_P) == len(self.outputs_T)

    def to(self, device: torch.device, dtype: torch.dtype) -> Layout:
        """On a device, with masks to be added to scores of that type."""
        rectangles = []
        for one in self.rectangles:
            mask = torch.zeros(one.mask_SQK.shape, dtype=dtype).masked_fill_(~one.mask_SQK, torch.finfo(dtype).min)
            prefixes = None if one.prefixes_S is None else one.prefixes_S.to(device)
            rectangles.append(Rectangle(one.start, one.sequences, one.width, mask.to(device), prefixes))
        return Layout(tuple(rectangles), self.inputs_P.to(device), self.outputs_T.to(device))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the line: a group's prefix (`pair` is None), or what one pair adds to it."""

    start: int
    stop: int
    pair: int | None


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch in one line."""

    ids_T: Tensor
    positions_T: Tensor
    sizes: tuple[int, ...]  # positions of each group
    pieces: tuple[Piece, ...]
    layout: Layout
    sources_L: Tensor  # the position whose output predicts the label
    labels_L: Tensor
    pairs_L: Tensor  # which pair of the batch each label belongs to

    @property
    def tokens(self) -> int:
        return int(self.ids_T.numel())


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all prompts share, leaving at least one of each."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    for index in range(shortest):
        if any(prompt[index] != first[index] for prompt in prompts):
            return index
    return max(shortest, 0)


def pack(pairs: Sequence[Pair]) -> Packed:
    """One group."""
    return pack_groups([pairs])


def pack_groups(groups: Sequence[Sequence[Pair]], *, share_prefix: bool = True) -> Packed:
    """Lay out each group after the other; pairs are numbered over all groups in order."""
    pairs = [pair for group in groups for pair in group]
    if not all(pair.prompt for pair in pairs):
        raise ValueError("a pair without a prompt has nothing to predict its first target token from")
    if not pairs:
        raise ValueError("an empty batch has no labels")
    prefix = common_prefix([pair.prompt for pair in pairs]) if share_prefix else 0
    ids: list[int] = []
    positions: list[int] = []
    pieces: list[Piece] = []
    owners: list[int] = []  # the number of the prefix that a piece sees
    sizes: list[int] = []
    number = prefixes = 0
    for group in groups:
        first = len(ids)
        if group and prefix:
            ids.extend(group[0].prompt[:prefix])
            positions.extend(range(prefix))
            pieces.append(Piece(first, first + prefix, None))
            owners.append(prefixes)
            prefixes += 1
        for pair in group:
            begin = len(ids)
            ids.extend(pair.prompt[prefix:] + pair.target)
            positions.extend(range(prefix, len(pair)))
            pieces.append(Piece(begin, len(ids), number))
            owners.append(prefixes - 1)
            number += 1
        sizes.append(len(ids) - first)
    sources, labels, belongs = _labels(pairs, pieces)
    return Packed(
        torch.tensor(ids),
        torch.tensor(positions),
        tuple(sizes),
        tuple(pieces),
        _layout(pieces, owners, prefix),
        torch.tensor(sources, dtype=torch.long),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(belongs, dtype=torch.long),
    )


def _labels(pairs: Sequence[Pair], pieces: Sequence[Piece]) -> tuple[list[int], list[int], list[int]]:
    sources: list[int] = []
    labels: list[int] = []
    belongs: list[int] = []
    for piece in pieces:
        if piece.pair is not None:
            target = pairs[piece.pair].target
            sources.extend(range(piece.stop - len(target) - 1, piece.stop - 1))
            labels.extend(target)
            belongs.extend([piece.pair] * len(target))
    return sources, labels, belongs


def _layout(pieces: Sequence[Piece], owners: Sequence[int], prefix: int) -> Layout:
    """Rectangles of pieces whose lengths lie between the same two powers of two, the prefixes first."""
    classes: defaultdict[tuple[bool, int], list[int]] = defaultdict(list)
    for index, piece in enumerate(pieces):
        length = piece.stop - piece.start
        classes[piece.pair is not None, max(_FINEST, length - 1).bit_length()].append(index)
    rectangles = []
    shown: list[Tensor] = []
    real: list[Tensor] = []
    offset = 0
    for (is_pair, _), members in sorted(classes.items()):
        begin = torch.tensor([pieces[i].start for i in members])[:, None]
        lengths = torch.tensor([pieces[i].stop - pieces[i].start for i in members])[:, None]
        width = int(lengths.max())
        steps = torch.arange(width)[None]
        shown.append((begin + steps.minimum(lengths - 1)).flatten())
        real.append((steps < lengths).flatten())
        equal = bool((lengths == width).all())
        known = lengths[:1] if equal else lengths
        # Causal, and no padded keys; what a padded query sees does not matter, as long as it is something.
        mask = (steps[:, :, None] >= steps[:, None]) & ((steps < known)[:, None] | (steps >= known)[:, :, None])
        prefixes = None
        if prefix and is_pair:
            mask = torch.cat([mask.new_ones(*mask.shape[:2], prefix), mask], dim=2)
            prefixes = torch.tensor([owners[i] for i in members])
        rectangles.append(Rectangle(offset, len(members), width, mask, prefixes))
        offset += len(members) * width
    inputs, places = torch.cat(shown), torch.cat(real).nonzero().squeeze(1)
    outputs = torch.empty(len(places), dtype=torch.long)
    outputs[inputs[places]] = places
    return Layout(tuple(rectangles), inputs, outputs)
