"""Pack prompt–target pairs into rows without padding between them, the shared prompt prefix once per row.

A row is [prefix | pair 1 | pair 2 | …]. The attention mask lets a pair see the prefix and itself; positions
restart after the prefix. So every token is computed in exactly the context it would have alone, and the opening
that a chat template repeats in each prompt is paid for once a row.

Shape letters: R rows, T positions, L labelled positions over the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pair:
    """Token ids of a prompt and of the target to be predicted after it."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed batch."""

    ids_RT: Tensor
    positions_RT: Tensor
    mask_R1TT: Tensor  # bool, True where a query may look
    sources_L: Tensor  # flat index into [R·T] of the position whose output predicts the label
    labels_L: Tensor
    pairs_L: Tensor  # which pair of the batch each label belongs to

    @property
    def rows(self) -> int:
        return int(self.ids_RT.shape[0])

    @property
    def tokens(self) -> int:
        return int(self.ids_RT.numel())


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all prompts share, leaving at least one of each."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    for index in range(shortest):
        if any(prompt[index] != first[index] for prompt in prompts):
            return index
    return max(shortest, 0)


def fill(lengths: Sequence[int], room: int) -> list[list[int]]:
    """First-fit bins of indices, in the order given; a length over `room` gets a bin of its own."""
    bins: list[list[int]] = []
    free: list[int] = []
    for index, length in enumerate(lengths):
        slot = next((i for i, space in enumerate(free) if space >= length), None)
        if slot is None:
            bins.append([])
            free.append(room)
            slot = len(bins) - 1
        bins[slot].append(index)
        free[slot] -= length
    return bins


def pack(pairs: Sequence[Pair], row_tokens: int = 256) -> Packed:
    """Pack `pairs` into rows of about `row_tokens` positions."""
    return pack_groups([pairs], row_tokens)[0]


def pack_groups(groups: Sequence[Sequence[Pair]], row_tokens: int = 256) -> tuple[Packed, int]:
    """Pack each group into rows of its own, all groups the same number of rows; returns that number too.

    Groups stand one after the other, shorter ones filled up with empty rows, so that group i has rows
    i·n … (i+1)·n and an adapter's share of the batch is a slice. Pairs are numbered over all groups in order.
    """
    pairs = [pair for group in groups for pair in group]
    if not all(pair.prompt for pair in pairs):
        raise ValueError("a pair without a prompt has nothing to predict its first target token from")
    prefix = common_prefix([pair.prompt for pair in pairs])
    room = max(row_tokens - prefix, 2 * prefix)  # a long prefix is paid for by many pairs
    binned: list[list[list[int]]] = []
    first = 0
    for group in groups:
        bins = fill([len(pair) - prefix for pair in group], room)
        binned.append([[first + index for index in bin_] for bin_ in bins])
        first += len(group)
    rows = max(len(bins) for bins in binned)
    width = prefix + max(sum(len(pairs[i]) - prefix for i in bin_) for bins in binned for bin_ in bins)
    layout = [bins[row] if row < len(bins) else [] for bins in binned for row in range(rows)]
    return _lay_out(pairs, layout, prefix, width), rows


def _lay_out(pairs: Sequence[Pair], layout: Sequence[Sequence[int]], prefix: int, width: int) -> Packed:
    """The tensors of rows that hold the pairs `layout` names."""
    ids = torch.zeros(len(layout), width, dtype=torch.long)
    positions = torch.zeros(len(layout), width, dtype=torch.long)
    owners = torch.full((len(layout), width), -1, dtype=torch.long)  # 0 prefix, k the row's k-th pair, -1 padding
    sources: list[int] = []
    labels: list[int] = []
    belongs: list[int] = []
    for row, members in enumerate(layout):
        start = prefix if members else 0
        if members:
            ids[row, :prefix] = torch.tensor(pairs[members[0]].prompt[:prefix], dtype=torch.long)
            positions[row, :prefix] = torch.arange(prefix)
            owners[row, :prefix] = 0
        for order, index in enumerate(members, 1):
            tail = pairs[index].prompt[prefix:] + pairs[index].target
            stop = start + len(tail)
            ids[row, start:stop] = torch.tensor(tail, dtype=torch.long)
            positions[row, start:stop] = torch.arange(prefix, prefix + len(tail))
            owners[row, start:stop] = order
            target = pairs[index].target
            sources.extend(range(row * width + stop - len(target) - 1, row * width + stop - 1))
            labels.extend(target)
            belongs.extend([index] * len(target))
            start = stop
    sources_L, labels_L, pairs_L = (torch.tensor(values, dtype=torch.long) for values in (sources, labels, belongs))
    return Packed(ids, positions, _mask(owners), sources_L, labels_L, pairs_L)


def _mask(owners_RT: Tensor) -> Tensor:
    """Causal, and only within the pair or back to the prefix. Padding sees itself, so that no softmax is empty."""
    width = owners_RT.shape[1]
    query, key = owners_RT[:, :, None], owners_RT[:, None, :]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    return ((key == query) | ((key == 0) & (query >= 0))).logical_and(causal)[:, None]
