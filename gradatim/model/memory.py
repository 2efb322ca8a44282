"""What adapters and a training step take in memory, said before it is taken.

    bytes = 16 · P · adapters  +  a · positions  +  s · scores  +  l · labels  +  h

P is the number of an adapter's weights, Σ rank · (in + out) over its modules: four bytes each for the weight, its
gradient and AdamW's two moments. `positions` are those of the line, `scores` the query–key pairs that attention looks
at, padding included, and `labels` the positions with a label; h is for the logits of as many labels as are computed at
a time. What a position, a score and a label cost depends on the base and on the lowest adapted block; it is read off
three small forward passes (`StepCost.measure`), by counting what autograd keeps for the way back.

Limits: an objective that asks for logits keeps them on top, V fp32 numbers for each label. The way back itself takes
some more for a moment, up to the largest single result; the estimate is held against what is free when a step begins,
and other processes may take it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradatim.model.adapter import ModuleShape
from gradatim.model.bank import AdapterBank
from gradatim.model.head import chunk_labels
from gradatim.model.packing import Packed, Pair, pack
from gradatim.model.scoring import label_logits

_FLOAT = 4
_PROBES = ((4, 8), (8, 8), (4, 40))  # texts, and tokens of each


def adapter_bytes(modules: Iterable[ModuleShape], rank: int, *, trained: bool = True) -> int:
    """An adapter's weights and gradients; with AdamW's moments where it is trained."""
    weights = sum(rank * (module.features_in + module.features_out) for module in modules)
    return weights * _FLOAT * (4 if trained else 2)


@dataclass(frozen=True, slots=True)
class StepCost:
    """Bytes that a training step keeps, above its adapters."""

    fixed: float
    position: float
    score: float
    label: float
    head: float  # for a moment, whatever the number of labels, unless the objective asks for logits

    @classmethod
    def measure(cls, bank: AdapterBank, name: str) -> StepCost:
        """From three small forward passes with this adapter."""
        rows, kept = [], []
        for texts, tokens in _PROBES:
            packed = pack([Pair((3,), (4 + text, *[5] * (tokens - 2))) for text in range(texts)])
            rows.append([1.0, packed.tokens, scores(packed)])
            kept.append(_kept(bank, packed, name))
        fixed, position, score = np.linalg.solve(np.array(rows), np.array(kept, dtype=float))
        vocabulary, width = bank.base.head.weight.shape  # type: ignore[misc]
        size = bank.base.dtype.itemsize
        # Its hidden state and how its log-probability moves with it; and for some labels at a time, logits and chances.
        label = 2 * width * size
        head = chunk_labels(vocabulary) * vocabulary * (size + _FLOAT + (_FLOAT if size < _FLOAT else 0))
        return cls(max(0.0, float(fixed)), max(0.0, float(position)), max(0.0, float(score)), label, head)

    def of(self, packed: Packed) -> int:
        """Bytes for a step on this line."""
        labels = len(packed.labels_L) * self.label
        return round(self.fixed + self.position * packed.tokens + self.score * scores(packed) + labels + self.head)


def scores(packed: Packed) -> int:
    """Query–key pairs of a line's rectangles."""
    return sum(one.sequences * one.width * one.mask_SQK.shape[2] for one in packed.layout.rectangles)


def _kept(bank: AdapterBank, packed: Packed, name: str) -> int:
    """Bytes of distinct storages that autograd keeps for the way back, the base's weights left out."""
    own = {weight.untyped_storage().data_ptr() for weight in bank.base.model.parameters()}
    own.add(bank.adapters[name].flat.untyped_storage().data_ptr())
    found: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no storage is used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        label_logits(bank, _without_labels(packed), [name])
    return sum(found.values())


def _without_labels(packed: Packed) -> Packed:
    """One label only: the logits are counted by themselves."""
    one: Sequence[Tensor] = (packed.sources_L[:1], packed.labels_L[:1], packed.pairs_L[:1])
    return Packed(packed.ids_T, packed.positions_T, packed.sizes, packed.pieces, packed.layout, *one)
