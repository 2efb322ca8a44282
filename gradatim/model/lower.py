"""The blocks below the lowest adapted one give the same for every adapter and every epoch: computed once per text.

    lower = LowerBlocks(bank, first=15)
    label_logits(bank, pack(pairs), ["a"], lower, wholes=pairs)

The hidden states that enter block `first` are kept for each distinct text, [positions, width] in the base's type, until
`room` bytes are full; then the texts that were not asked for longest leave. A text whose target is cut short is the
opening of the whole one, and so are its hidden states, since attention looks back only.

Limits: the same numbers as without, up to the order of sums within a matmul, which may change with the size of a batch.
Models whose blocks aren't in one `ModuleList` are run whole (`supported` says so).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradatim.model.adapter import Adapter
from gradatim.model.attention import laid_out
from gradatim.model.bank import AdapterBank, block_of
from gradatim.model.packing import Packed, Pair, pack

_BATCH_POSITIONS = 4096


@dataclass(slots=True)
class _Route:
    """Which blocks run now: from `start`, into which `entering` goes, to before `stop`, whose input is `leaving`."""

    start: int = 0
    stop: int = 1 << 30
    entering: Tensor | None = None
    leaving: Tensor | None = None


class LowerBlocks:
    """The hidden states below block `first` of a bank's base, text by text."""

    def __init__(self, bank: AdapterBank, first: int, room: int = 1 << 30) -> None:
        self.first, self._bank, self._room, self._held = first, bank, room, 0
        self._kept: OrderedDict[tuple[int, ...], list[tuple[tuple[int, ...], Tensor]]] = OrderedDict()
        self._blocks = _blocks(bank)
        self.computed = self.reused = 0  # texts

    @property
    def supported(self) -> bool:
        """Whether anything is saved: this base's blocks can be entered midway, and some lie below."""
        return self._blocks is not None and 0 < self.first < len(self._blocks)

    def enter(self, packed: Packed, wholes: Sequence[Pair]) -> Tensor:
        """The hidden states [T, D] of a line; `wholes[i]` is pair i of the line with its target in full."""
        missing = {pair: None for pair in wholes if self._find(pair) is None}
        for batch in _batches(list(missing)):
            self._compute(batch)
        found = []
        for index, piece in enumerate(packed.pieces):
            pair = piece.pair if piece.pair is not None else packed.pieces[index + 1].pair
            assert pair is not None
            kept = self._find(wholes[pair])
            assert kept is not None
            begin = int(packed.positions_T[piece.start])
            found.append(kept[begin : begin + piece.stop - piece.start])
        self.computed += len(missing)
        self.reused += len(wholes) - len(missing)
        self._shrink(len(wholes))
        return torch.cat(found)

    @contextmanager
    def above(self, entering_TD: Tensor) -> Iterator[None]:
        """Within this context the base starts at block `first`, with these hidden states."""
        with self._route(_Route(start=self.first, entering=entering_TD[None])):
            yield

    def _find(self, pair: Pair) -> Tensor | None:
        if pair.prompt not in self._kept:
            return None
        self._kept.move_to_end(pair.prompt)
        kept = self._kept[pair.prompt]
        return next((hidden for target, hidden in kept if target[: len(pair.target)] == pair.target), None)

    @torch.no_grad()
    def _compute(self, pairs: Sequence[Pair]) -> None:
        packed, base, route = pack(pairs), self._bank.base, _Route(stop=self.first)
        layout = packed.layout.to(base.device, base.dtype)
        with self._bank.groups([None], [packed.tokens]), laid_out(layout), self._route(route):
            base.backbone(
                input_ids=packed.ids_T[None].to(base.device),
                attention_mask=torch.ones(1, 1, 1, 1, device=base.device),
                position_ids=packed.positions_T[None].to(base.device),
                use_cache=False,
            )
        assert route.leaving is not None
        hidden_TD = route.leaving[0]
        prefix = hidden_TD[:0]
        for piece in packed.pieces:
            if piece.pair is None:
                prefix = hidden_TD[piece.start : piece.stop]
                continue
            pair, whole = pairs[piece.pair], torch.cat([prefix, hidden_TD[piece.start : piece.stop]])
            self._kept.setdefault(pair.prompt, []).append((pair.target, whole))
            self._held += whole.nbytes

    def _shrink(self, least: int) -> None:
        while self._held > self._room and len(self._kept) > least:
            _, gone = self._kept.popitem(last=False)
            self._held -= sum(hidden.nbytes for _, hidden in gone)

    @contextmanager
    def _route(self, route: _Route) -> Iterator[None]:
        assert self._blocks is not None
        plain = [block.forward for block in self._blocks]
        for index, block in enumerate(self._blocks):
            block.forward = _routed(plain[index], index, route)
        try:
            yield
        finally:
            for block in self._blocks:
                del block.forward  # the class's own shows again


def _routed(plain: Callable[..., Any], index: int, route: _Route) -> Callable[..., Any]:
    def forward(hidden_RTD: Tensor, *rest: Any, **more: Any) -> Any:
        if index == route.stop:
            route.leaving = hidden_RTD
        if not route.start <= index < route.stop:
            return hidden_RTD
        return plain(
            route.entering if index == route.start and route.entering is not None else hidden_RTD, *rest, **more
        )

    return forward


def lowest_block(adapter: Adapter) -> int:
    """The lowest block that the adapter touches; 0 where it touches what lies in no block."""
    return max(0, min(block_of(name) for name in adapter.modules))


def _blocks(bank: AdapterBank) -> nn.ModuleList | None:
    count = bank.base.model.config.num_hidden_layers
    lists = [m for m in bank.base.backbone.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return lists[0] if len(lists) == 1 else None


def _batches(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        if batch and sum(map(len, batch)) + len(pair) > _BATCH_POSITIONS:
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch
