"""The adapter bank: many minds on one brain.

Several LoRA adapters live on one frozen base. Each row of a batch names its adapter (or none), and all rows go
through the base in the same pass: the base's matmul is done once for all, each adapter's low-rank product only
on its own rows. An adapter in a bank therefore computes what it would compute alone; no row sees another's
weights, and gradients fall only into the adapter that made them.

    bank = AdapterBank(base)
    bank.add("a", Adapter(bank.shapes(), 16, 32.0, "cpu").initialise(seed=0))
    with bank.rows(["a", "a", None]):
        base.model(ids_RT)

Training and scoring lay texts of any length end to end (`model/packing.py`) and name each group of positions instead:
`bank.groups(["a", "b"], [310, 45])`. What belongs to one adapter must stand together (both refuse otherwise): then
every adapter's share of the batch is a slice, not a gather.

A layer and its low-rank products are one node of autograd, which adds straight into the adapters' gradients: nothing
is kept for the backward pass but the layer's input, the low-rank activations and the adapters in the base's type. So
gradients of gradients can't be had, nor adapter gradients by `torch.autograd.grad`; `backward()` fills them.

Limits: linear layers and GPT-2's Conv1D; no dropout; base weights stay frozen.

Shape letters: R rows, T positions, D features in, K features out, N adapters of a part, M positions of each, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import is_ as _is
from typing import Any

import torch
from torch import Tensor, nn

from gradatim.errors import ModelError
from gradatim.model import attention, norms
from gradatim.model.adapter import Adapter, Family, ModuleShape, families
from gradatim.model.base import Base

_MOST_PADDING = 2.0  # places for each position; beyond, adapters are multiplied one after the other


@dataclass(frozen=True, slots=True)
class Segment:
    """Positions start..stop of the batch belong to `adapter`; None is the bare base."""

    adapter: Adapter | None
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Unequal shares of a part, evened out for batched products: N × M places, the last of a short share padding."""

    inputs: Tensor  # [N·M], the position that each place shows
    outputs_P: Tensor  # the place of each position
    real_NM1: Tensor  # 1 and 0 for padding, whose products must not count


@dataclass(frozen=True, slots=True)
class Gradients:
    """Where the gradients of a part go, shaped like its weights."""

    of_A_NSD: Tensor
    of_B_NrK: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Positions start..stop of an input, which N adapters share, with the weights they have for a family of modules."""

    A_NSD: Tensor
    B_NrK: tuple[Tensor, ...]  # of each module
    scale: float
    start: int
    stop: int
    gradients: Gradients | None  # None where nothing is trained
    shares: Shares | None = None  # None: all of one size

    def split(self, x_PD: Tensor) -> Tensor:
        """Each adapter's positions, [N, M, D]."""
        mine = x_PD[self.start : self.stop]
        if self.shares is not None:
            mine = mine.index_select(0, self.shares.inputs)
        return mine.view(len(self.A_NSD), -1, x_PD.shape[1])

    def mask(self, low_NMr: Tensor) -> Tensor:
        """Padding set to zero, in place."""
        return low_NMr if self.shares is None else low_NMr.mul_(self.shares.real_NM1)

    def add_product(self, y_PK: Tensor, low_NMr: Tensor, up_NrK: Tensor, scale: float) -> None:
        """y += scale · low @ up at these positions, in place."""
        mine = y_PK[self.start : self.stop]
        if self.shares is not None:
            mine.add_(torch.bmm(low_NMr, up_NrK).flatten(0, 1).index_select(0, self.shares.outputs_P), alpha=scale)
        elif len(low_NMr) == 1:
            mine.addmm_(low_NMr[0], up_NrK[0], alpha=scale)
        else:
            mine.view(len(low_NMr), -1, y_PK.shape[1]).baddbmm_(low_NMr, up_NrK, alpha=scale)


class Division:
    """How a batch is divided among adapters: by rows, or by the positions of a line."""

    def __init__(self, segments: Sequence[Segment], stack: Stack | None, line: bool, overwrite: bool = False) -> None:
        self.segments, self.total, self.line = tuple(segments), segments[-1].stop if segments else 0, line
        self._stack, self._overwrite = stack, overwrite
        self._written: set[int] = set()
        self._parts: dict[tuple[Family, int, torch.dtype, bool], list[Part] | None] = {}
        self._shares: dict[tuple[int, ...], Shares] = {}

    def parts(self, family: Family, shape: torch.Size, dtype: torch.dtype) -> list[Part] | None:
        """The parts of a family's input of this shape, [R, T, D], looked up once; where nothing is trained, their
        weights are copies in the input's dtype.

        None where an adapter has only some of the family: its modules must then be asked for one by one.
        """
        key = (family, shape[:-1].numel(), dtype, torch.is_grad_enabled())
        if key not in self._parts:
            torn = any(
                0 < len(set(family) & s.adapter.modules.keys()) < len(family) for s in self.segments if s.adapter
            )
            self._parts[key] = None if torn else list(self._find(family, shape, dtype)) if self.segments else []
        return self._parts[key]

    def accumulate(self, gradient: Tensor, more: Tensor, scale: float = 1.0) -> None:
        """Add to a gradient, or write it where it is the first of the pass and overwriting was asked for."""
        if self._overwrite and gradient.data_ptr() not in self._written:
            self._written.add(gradient.data_ptr())
            gradient.copy_(more if scale == 1.0 else more.mul_(scale))
        else:
            gradient.add_(more, alpha=scale)

    def _find(self, family: Family, shape: torch.Size, dtype: torch.dtype) -> Iterator[Part]:
        rows, positions = shape[0], shape[:-1].numel()
        if (positions if self.line else rows) != self.total and (self.line or len(self.segments) > 1):
            what = "positions" if self.line else "rows"
            got = positions if self.line else rows
            raise ValueError(f"{family[0]} got {got} {what}, {self.total} were named")
        each = 1 if self.line else positions // self.total
        mine = [s for s in self.segments if s.adapter is not None and family[0] in s.adapter.modules]
        for segments in [mine] if self._together(mine) else [[segment] for segment in mine]:
            adapters = [s.adapter for s in segments if s.adapter is not None]
            sizes = tuple((s.stop - s.start) * each for s in segments)
            shares = self._evened(sizes, adapters[0].flat.device) if len(set(sizes)) > 1 else None
            start, stop = segments[0].start * each, segments[-1].stop * each
            A, B, gradients = self._weights(adapters, family)
            if not torch.is_grad_enabled():
                A, B, gradients = A.to(dtype), tuple(one.to(dtype) for one in B), None
            yield Part(A, B, adapters[0].scale, start, stop, gradients, shares)

    def _together(self, segments: Sequence[Segment]) -> bool:
        """Whether segments are computed at once: side by side, of one rank, in one stack if trained, and worth it."""
        adapters = [s.adapter for s in segments if s.adapter is not None]
        if len(adapters) < 2 or len({(a.rank, a.scale) for a in adapters}) > 1:
            return False
        if any(a.stop != b.start for a, b in pairwise(segments)):
            return False
        if torch.is_grad_enabled() and not (self._stack is not None and self._stack.holds(adapters)):
            return False
        sizes = [s.stop - s.start for s in segments]
        return len(set(sizes)) == 1 or len(sizes) * max(sizes) <= _MOST_PADDING * sum(sizes)

    def _evened(self, sizes: tuple[int, ...], device: torch.device) -> Shares:
        if sizes not in self._shares:
            lengths = torch.tensor(sizes)[:, None]
            steps = torch.arange(max(sizes))[None]
            real = steps < lengths
            inputs = (lengths.cumsum(0) - lengths) + steps.minimum(lengths - 1)
            outputs = real.flatten().nonzero().squeeze(1)
            self._shares[sizes] = Shares(inputs.flatten().to(device), outputs.to(device), real[..., None].to(device))
        return self._shares[sizes]

    def _weights(self, adapters: list[Adapter], family: Family) -> tuple[Tensor, tuple[Tensor, ...], Gradients | None]:
        if self._stack is not None and self._stack.holds(adapters):
            A, B = self._stack.joint_A[family], [self._stack.turned_B[name] for name in family]
        elif len(adapters) == 1:
            one = adapters[0]
            A, B = _alone(one.joint_A[family]), [_alone(one.turned_B[name]) for name in family]
        else:
            joint = torch.stack([adapter.joint_A[family][0] for adapter in adapters])
            return joint, tuple(torch.stack([a.turned_B[name][0] for a in adapters]) for name in family), None
        return A[0], tuple(weights for weights, _ in B), Gradients(A[1], tuple(gradient for _, gradient in B))


def _alone(both: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return both[0][None], both[1][None]


class Stack:
    """Adapters of one rank on the same modules, each a row of one tensor: batched products need no copy of them."""

    def __init__(self, adapters: Sequence[Adapter]) -> None:
        self.adapters = tuple(adapters)
        first = self.adapters[0]
        self.flat_NP = first.flat.new_empty(len(self.adapters), first.flat.numel())
        self.gradient_NP = torch.empty_like(self.flat_NP)
        for row, adapter in enumerate(self.adapters):
            adapter.move(self.flat_NP[row], self.gradient_NP[row])

        def all_of(flat_NP: Tensor, its: Tensor) -> Tensor:
            shape, strides = (len(self.adapters), *its.shape), (flat_NP.stride(0), *its.stride())
            return flat_NP.as_strided(shape, strides, its.storage_offset())

        def both_of(its: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return all_of(self.flat_NP, its[0]), all_of(self.gradient_NP, its[1])

        self.joint_A = {family: both_of(of_first) for family, of_first in first.joint_A.items()}
        self.turned_B = {name: both_of(of_first) for name, of_first in first.turned_B.items()}

    def holds(self, adapters: Sequence[Adapter]) -> bool:
        """Whether these are its adapters, all of them and in its order."""
        return len(adapters) == len(self.adapters) and all(map(_is, adapters, self.adapters))


class AdapterBank:
    """LoRA adapters by name on one frozen base. Attaches itself to the base's linear layers; `detach` undoes it."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.adapters: dict[str, Adapter] = {}
        self.division = Division((), None, line=False)
        self._stack: Stack | None = None
        self.anchor = torch.zeros(0, requires_grad=True)
        self._kernel: str = base.model.config._attn_implementation
        base.model.set_attn_implementation(attention.register())
        self._layers = _attach(base.model, self)
        self._norms = list(norms.norms_of(base.model))
        for norm in self._norms:
            norms.run_as_one_node(norm)

    def shapes(self, layers: range | None = None) -> list[ModuleShape]:
        """The modules an adapter can attach to; `layers` keeps only those transformer blocks."""
        return [layer.shape for layer in self._layers if layers is None or block_of(layer.shape.name) in layers]

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
        with self.within(self.divide(names)):
            yield

    def divide(self, names: Sequence[str | None]) -> Division:
        """What `rows` computes by, for whoever does so again and again while the adapters stay as they are."""
        return Division(self._segments(names, [1] * len(names)), self._stack, line=False)

    @contextmanager
    def groups(self, names: Sequence[str | None], sizes: Sequence[int], *, overwrite: bool = False) -> Iterator[None]:
        """Within this context, a batch is one line, whose first `sizes[0]` positions are adapter `names[0]`'s, etc.

        With `overwrite`, the backward pass replaces what stands in the adapters' gradients instead of adding to it.
        """
        with self.within(Division(self._segments(names, sizes), self._stack, line=True, overwrite=overwrite)):
            yield

    @contextmanager
    def within(self, division: Division) -> Iterator[None]:
        """Within this context, a batch is computed as it is divided here."""
        before, self.division = self.division, division
        try:
            yield
        finally:
            self.division = before

    def detach(self) -> None:
        """Give the base its own layers and its own attention kernel back."""
        self.base.model.set_attn_implementation(self._kernel)
        for layer in self._layers:
            parent, _, leaf = layer.shape.name.rpartition(".")
            setattr(self.base.model.get_submodule(parent), leaf, layer.frozen)
        for norm in self._norms:
            norms.as_it_was(norm)
        self._layers, self._norms = [], []

    def _segments(self, names: Sequence[str | None], sizes: Sequence[int]) -> list[Segment]:
        segments: list[Segment] = []
        seen: set[str | None] = set()
        start = 0
        for name, run in groupby(zip(names, sizes, strict=True), lambda pair: pair[0]):
            stop = start + sum(size for _, size in run)
            if name in seen:
                raise ValueError(f"what belongs to adapter {name} is not contiguous")
            if name is not None and name not in self.adapters:
                raise ModelError(f"The bank holds no adapter named {name}.")
            seen.add(name)
            if stop > start:
                segments.append(Segment(None if name is None else self.adapters[name], start, stop))
            start = stop
        return segments


class BankLinear(nn.Module):
    """A frozen linear layer plus, on each segment's rows, that segment's low-rank product.

    The first of a family to be called computes what all of them give for that input; the others hand it out.
    """

    def __init__(self, name: str, frozen: nn.Module, bank: AdapterBank) -> None:
        super().__init__()
        self.frozen = frozen
        weight: Tensor = frozen.weight  # type: ignore[assignment]
        features = weight.shape if isinstance(frozen, nn.Linear) else weight.shape[::-1]
        self.shape = ModuleShape(name, int(features[1]), int(features[0]), not isinstance(frozen, nn.Linear))
        self._owners = (bank, [self])  # in a tuple, so that the module does not register them
        self._waiting: tuple[Tensor, Tensor] | None = None  # an input, and what this layer gives for it

    @property
    def family(self) -> list[BankLinear]:
        return self._owners[1]

    def join(self, family: list[BankLinear]) -> None:
        """Be computed with these layers, which are fed the same input."""
        self._owners = (self._owners[0], family)

    def forward(self, x_RTD: Tensor) -> Tensor:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting[0] is x_RTD:
            return waiting[1]
        bank, layers = self._owners
        parts = bank.division.parts(tuple(layer.shape.name for layer in layers), x_RTD.shape, x_RTD.dtype)
        if parts is None:
            layers, parts = [self], bank.division.parts((self.shape.name,), x_RTD.shape, x_RTD.dtype)
        if not parts:
            plain: Tensor = self.frozen(x_RTD)
            return plain
        x_PD, modules = x_RTD.reshape(-1, x_RTD.shape[-1]), [layer.frozen for layer in layers]
        outputs: Sequence[Tensor]
        if torch.is_grad_enabled():
            outputs = _LowRank.apply(x_PD, bank.anchor, modules, parts, bank.division)  # type: ignore[no-untyped-call]
        else:
            outputs, _ = _products(x_PD, modules, parts)
        made = [y_PK.view(*x_RTD.shape[:-1], -1) for y_PK in outputs]
        for layer, y_RTK in zip(layers, made, strict=True):
            layer._waiting = None if layer is self else (x_RTD, y_RTK)
        return made[layers.index(self)]


class _LowRank(torch.autograd.Function):
    """A family of frozen layers and the low-rank products of its parts, over all positions of the batch.

    `anchor` is an empty tensor that needs a gradient: without it autograd would not come here where the input has none.
    """

    @staticmethod
    def forward(
        ctx: Any, x_PD: Tensor, anchor: Tensor, frozen: list[nn.Module], parts: list[Part], division: Division
    ) -> tuple[Tensor, ...]:
        y_PK, kept = _products(x_PD, frozen, parts)
        ctx.save_for_backward(x_PD, *kept)
        ctx.frozen, ctx.parts, ctx.division = frozen, parts, division
        return tuple(y_PK)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x_PD, *kept = ctx.saved_tensors
        count = len(ctx.frozen)
        g_PK = [gradient.contiguous() for gradient in gradients]
        gx_PD = None
        if ctx.needs_input_grad[0]:
            for g, module in zip(g_PK, ctx.frozen, strict=True):
                weight_KD = module.weight if isinstance(module, nn.Linear) else module.weight.t()
                gx_PD = g @ weight_KD if gx_PD is None else gx_PD.addmm_(g, weight_KD)
        for number, part in enumerate(ctx.parts):
            A_NSD, low_NMS, *B_NrK = kept[(2 + count) * number : (2 + count) * (number + 1)]
            g_NMK = [part.split(g) for g in g_PK]
            g_low = [_product(g, B.transpose(1, 2)) for g, B in zip(g_NMK, B_NrK, strict=True)]
            g_NMS = part.mask((g_low[0] if count == 1 else torch.cat(g_low, -1)).mul_(part.scale))
            if gx_PD is not None:
                part.add_product(gx_PD, g_NMS, A_NSD, 1.0)
            if part.gradients is None:
                continue
            ctx.division.accumulate(part.gradients.of_A_NSD, _product(g_NMS.transpose(1, 2), part.split(x_PD)))
            lows = low_NMS.chunk(count, -1)
            for of_B, low_NMr, g in zip(part.gradients.of_B_NrK, lows, g_NMK, strict=True):
                ctx.division.accumulate(of_B, _product(low_NMr.transpose(1, 2), g), part.scale)
        return gx_PD, None, None, None, None


def _products(x_PD: Tensor, frozen: Sequence[nn.Module], parts: Sequence[Part]) -> tuple[list[Tensor], list[Tensor]]:
    """What the layers give with their parts' low-rank products, and what the way back needs of these."""
    y_PK: list[Tensor] = [module(x_PD) for module in frozen]
    kept = []
    for part in parts:
        A_NSD, B_NrK = part.A_NSD.to(x_PD.dtype), [B.to(x_PD.dtype) for B in part.B_NrK]
        low_NMS = part.mask(_product(part.split(x_PD), A_NSD.transpose(1, 2)))
        for y, low_NMr, B in zip(y_PK, low_NMS.chunk(len(y_PK), -1), B_NrK, strict=True):
            part.add_product(y, low_NMr, B, part.scale)
        kept += [A_NSD, low_NMS, *B_NrK]
    return y_PK, kept


def _product(a_N: Tensor, b_N: Tensor) -> Tensor:
    """Batched product; a batch of one by the plain kernel, which is the faster."""
    return torch.mm(a_N[0], b_N[0])[None] if len(a_N) == 1 else torch.bmm(a_N, b_N)


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
    by_name = {layer.shape.name: layer for layer in layers}
    for family in families(by_name):
        alike = [by_name[name] for name in family]
        if len({layer.shape.features_in for layer in alike}) == 1:
            for layer in alike:
                layer.join(alike)
    return layers


def block_of(name: str) -> int:
    """The transformer block a module lies in; -1 outside of all blocks."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)
