"""The adapter bank: many minds on one brain.

Several LoRA adapters live on one frozen base. Each row of a batch names its adapter (or none), and all rows go
through the base in the same pass: the base's matmul is done once for all, each adapter's low-rank product only
on its own rows. An adapter in a bank therefore computes what it would compute alone; no row sees another's
weights, and gradients fall only into the adapter that made them.

    bank = AdapterBank(base)
    bank.add("a", Adapter(bank.shapes(), 16, 32.0, "cpu").initialise(seed=0))
    with bank.rows(["a", "a", None]):
        base.model(ids_RT)

Rows of one adapter must stand together (`rows` refuses otherwise): then every adapter's share of the batch is a
slice, not a gather. Limits: linear layers and GPT-2's Conv1D; no dropout; base weights stay frozen.

Shape letters: R rows, T positions, D features in, K features out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import is_ as _is
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradatim.errors import ModelError
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.base import Base


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows start..stop of the batch belong to `adapter`; None is the bare base."""

    adapter: Adapter | None
    start: int
    stop: int


class Stack:
    """Adapters of one rank on the same modules, each a row of one tensor: batched products need no copy of them."""

    def __init__(self, adapters: Sequence[Adapter]) -> None:
        self.adapters = tuple(adapters)
        first = self.adapters[0]
        self.flat_NP = first.flat.new_empty(len(self.adapters), first.flat.numel())
        self.gradient_NP = torch.empty_like(self.flat_NP)
        self.A: dict[str, Tensor] = {}
        self.B: dict[str, Tensor] = {}
        for row, adapter in enumerate(self.adapters):
            adapter.move(self.flat_NP[row], self.gradient_NP[row])
        for name in first.modules:
            for mine, its in ((self.A, first.A[name]), (self.B, first.B[name])):
                offset, shape = its.storage_offset(), (len(self.adapters), *its.shape)
                strides = (self.flat_NP.stride(0), *its.stride())
                mine[name] = self.flat_NP.as_strided(shape, strides, offset).requires_grad_()
                mine[name].grad = self.gradient_NP.as_strided(shape, strides, offset)

    def holds(self, adapters: Sequence[Adapter]) -> bool:
        """Whether these are its adapters, all of them and in its order."""
        return len(adapters) == len(self.adapters) and all(map(_is, adapters, self.adapters))


class AdapterBank:
    """LoRA adapters by name on one frozen base. Attaches itself to the base's linear layers; `detach` undoes it."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.adapters: dict[str, Adapter] = {}
        self._segments: tuple[Segment, ...] = ()
        self._stack: Stack | None = None
        self._layers = _attach(base.model, self)

    def shapes(self, layers: range | None = None) -> list[ModuleShape]:
        """The modules an adapter can attach to; `layers` keeps only those transformer blocks."""
        return [layer.shape for layer in self._layers if layers is None or _block(layer.shape.name) in layers]

    def module_shapes(self) -> dict[str, ModuleShape]:
        return {layer.shape.name: layer.shape for layer in self._layers}

    def add(self, name: str, adapter: Adapter) -> Adapter:
        if name in self.adapters:
            raise ModelError(f"The bank already holds an adapter named {name}: names are never reused.")
        shapes = self.module_shapes()
        strange = [module for module in adapter.modules.values() if shapes.get(module.name) != module]
        if strange:
            raise ModelError(f"Adapter {name} was made for another base: this one has no module like {strange[0]}.")
        self.adapters[name] = adapter
        return adapter

    def remove(self, name: str) -> None:
        gone = self.adapters.pop(name)
        if self._stack is not None and any(adapter is gone for adapter in self._stack.adapters):
            self._stack = None

    def stack(self, names: Sequence[str]) -> Stack | None:
        """Lay these adapters' weights side by side, for passes in which exactly they have equally many rows each.

        None where it can't be done: a single one, or unlike ranks or modules. Values, names and optimizer states stay.
        """
        adapters = [self.adapters[name] for name in names]
        if self._stack is not None and self._stack.holds(adapters):
            return self._stack
        alike = len({(adapter.rank, tuple(adapter.modules)) for adapter in adapters}) == 1
        self._stack = Stack(adapters) if alike and len(adapters) > 1 else None
        return self._stack

    @contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator[None]:
        """Within this context, row i of every batch is computed with adapter `names[i]`."""
        before, self._segments = self._segments, self._segment(names)
        try:
            yield
        finally:
            self._segments = before

    @property
    def stacked(self) -> Stack | None:
        return self._stack

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self._segments

    def detach(self) -> None:
        """Give the base its own layers back."""
        for layer in self._layers:
            parent, _, leaf = layer.shape.name.rpartition(".")
            setattr(self.base.model.get_submodule(parent), leaf, layer.frozen)
        self._layers = []

    def _segment(self, names: Sequence[str | None]) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        seen: set[str | None] = set()
        start = 0
        for stop in range(1, len(names) + 1):
            if stop < len(names) and names[stop] == names[start]:
                continue
            name = names[start]
            if name in seen:
                raise ValueError(f"rows of adapter {name} are not contiguous")
            if name is not None and name not in self.adapters:
                raise ModelError(f"The bank holds no adapter named {name}.")
            seen.add(name)
            segments.append(Segment(None if name is None else self.adapters[name], start, stop))
            start = stop
        return tuple(segments)


class BankLinear(nn.Module):
    """A frozen linear layer plus, on each segment's rows, that segment's low-rank product."""

    def __init__(self, name: str, frozen: nn.Module, bank: AdapterBank) -> None:
        super().__init__()
        self.frozen = frozen
        weight: Tensor = frozen.weight  # type: ignore[assignment]
        features = weight.shape if isinstance(frozen, nn.Linear) else weight.shape[::-1]
        self.shape = ModuleShape(name, int(features[1]), int(features[0]), not isinstance(frozen, nn.Linear))
        self._bank = [bank]  # in a list, so that the module does not register its owner

    def forward(self, x_RTD: Tensor) -> Tensor:
        y_RTK: Tensor = self.frozen(x_RTD)
        segments = self._bank[0].segments
        mine = [s for s in segments if s.adapter is not None and self.shape.name in s.adapter.modules]
        if not mine:
            return y_RTK
        if len(segments) == 1:
            return self._add(x_RTD, y_RTK, mine[0].adapter)
        if len(x_RTD) != segments[-1].stop:
            raise ValueError(f"{self.shape.name} got {len(x_RTD)} rows, {segments[-1].stop} were named")
        if len(mine) == len(segments) and _alike(mine):
            adapters = [s.adapter for s in mine if s.adapter is not None]
            return self._add_stacked(x_RTD, y_RTK, adapters)
        pieces = [
            self._add(x_RTD[s.start : s.stop], y_RTK[s.start : s.stop], s.adapter if s in mine else None)
            for s in segments
        ]
        return torch.cat(pieces)

    def _add(self, x: Tensor, y: Tensor, adapter: Adapter | None) -> Tensor:
        if adapter is None:
            return y
        A, B = adapter.A[self.shape.name].to(x.dtype), adapter.B[self.shape.name].to(x.dtype)
        low = F.linear(x.reshape(-1, x.shape[-1]), A)
        return torch.addmm(y.reshape(-1, y.shape[-1]), low, B.t(), alpha=adapter.scale).view(y.shape)

    def _add_stacked(self, x: Tensor, y: Tensor, adapters: list[Adapter]) -> Tensor:
        """All segments the same size and rank: one batched matmul each for A and B."""
        count, name, stack = len(adapters), self.shape.name, self._bank[0].stacked
        if stack is not None and stack.holds(adapters):
            A_NrD, B_NKr = stack.A[name], stack.B[name]
        else:
            A_NrD = torch.stack([adapter.A[name] for adapter in adapters])
            B_NKr = torch.stack([adapter.B[name] for adapter in adapters])
        low = torch.bmm(x.reshape(count, -1, x.shape[-1]), A_NrD.to(x.dtype).transpose(1, 2))
        scales = [adapter.scale for adapter in adapters]
        if len(set(scales)) > 1:
            low, scales = low * low.new_tensor(scales)[:, None, None], [1.0]
        up = B_NKr.to(x.dtype).transpose(1, 2)
        return torch.baddbmm(y.reshape(count, -1, y.shape[-1]), low, up, alpha=scales[0]).view(y.shape)


def _alike(segments: Sequence[Segment]) -> bool:
    ranks = {s.adapter.rank for s in segments if s.adapter is not None}
    return len(ranks) == 1 and len({s.stop - s.start for s in segments}) == 1


def _attach(model: Any, bank: AdapterBank) -> list[BankLinear]:
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    ]
    if any(name.endswith(".frozen") for name, _ in found):
        raise ModelError("This base already has a bank: detach that one first.")
    layers = []
    for name, module in found:
        layer = BankLinear(name, module, bank)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, layer)
        layers.append(layer)
    return layers


def _block(name: str) -> int:
    """The transformer block a module lies in; -1 outside of all blocks."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)
