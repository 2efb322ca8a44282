"""Per-token log-probabilities of packed targets: the one forward pass under training, judging and distilling.

The output head, a fifth of a small model's work, is applied only where a label is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gradatim.model.attention import laid_out, pick
from gradatim.model.bank import AdapterBank
from gradatim.model.head import log_probabilities_of
from gradatim.model.lower import LowerBlocks
from gradatim.model.packing import Packed, Pair, pack, pack_groups


def label_logits(
    bank: AdapterBank,
    packed: Packed,
    names: Sequence[str | None],
    lower: LowerBlocks | None = None,
    wholes: Sequence[Pair] = (),
    *,
    overwrite: bool = False,
) -> Tensor:
    """Logits [L, V] at the labelled positions, group i computed with adapter `names[i]`; see `label_states`."""
    logits: Tensor = bank.base.head(label_states(bank, packed, names, lower, wholes, overwrite=overwrite))
    return logits


def label_states(
    bank: AdapterBank,
    packed: Packed,
    names: Sequence[str | None],
    lower: LowerBlocks | None = None,
    wholes: Sequence[Pair] = (),
    *,
    overwrite: bool = False,
) -> Tensor:
    """What goes into the head at the labelled positions, [L, D], group i computed with adapter `names[i]`.

    With `lower`, blocks that none of the adapters touches are taken from there; `wholes[i]` is pair i in full.
    With `overwrite`, the backward pass replaces the adapters' gradients instead of adding to them.
    """
    device = bank.base.device
    midway = nullcontext() if lower is None else lower.above(lower.enter(packed, wholes))
    with (
        bank.groups(names, packed.sizes, overwrite=overwrite),
        laid_out(packed.layout.to(device, bank.base.dtype)),
        midway,
    ):
        hidden_RTD = bank.base.backbone(
            input_ids=packed.ids_T[None].to(device),
            attention_mask=torch.ones(1, 1, 1, 1, device=device),  # ours: the layout says who sees whom
            position_ids=packed.positions_T[None].to(device),
            use_cache=False,
        ).last_hidden_state
    return pick(hidden_RTD[0], packed.sources_L.to(device))


def log_probabilities(bank: AdapterBank, packed: Packed, names: Sequence[str | None]) -> Tensor:
    """Log-probability [L] of each label, fp32."""
    hidden_LD = label_states(bank, packed, names)
    return log_probabilities_of(hidden_LD, bank.base.head, packed.labels_L.to(hidden_LD.device))


@torch.no_grad()
def score(bank: AdapterBank, pairs: Sequence[Pair], adapter: str | None, batch: int = 64) -> Tensor:
    """Total log-probability [len(pairs)] of each target after its prompt, in nats."""
    totals = torch.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        packed = pack([pairs[i] for i in chosen])
        values = log_probabilities(bank, packed, [adapter]).cpu()
        totals[torch.tensor(chosen)] = torch.zeros(len(chosen)).index_add(0, packed.pairs_L, values)
    return totals


class Grade(NamedTuple):
    """How a target fares after its prompt: its log-probability in nats, and whether greedy decoding would say it."""

    log_probability: float
    greedy: bool


@torch.no_grad()
def grade(bank: AdapterBank, groups: Sequence[Sequence[Pair]], names: Sequence[str | None]) -> list[list[Grade]]:
    """The grade of each pair, all groups in one pass, group i with adapter `names[i]`."""
    packed = pack_groups(groups)
    logits_LV = label_logits(bank, packed, names).float().cpu()
    count = sum(map(len, groups))
    values_L = -F.cross_entropy(logits_LV, packed.labels_L, reduction="none")
    totals = torch.zeros(count).index_add(0, packed.pairs_L, values_L).tolist()
    missed_L = (logits_LV.argmax(-1) != packed.labels_L).float()
    missed = torch.zeros(count).index_add(0, packed.pairs_L, missed_L).tolist()
    grades = iter([Grade(total, miss == 0) for total, miss in zip(totals, missed, strict=True)])
    return [[next(grades) for _ in group] for group in groups]


@torch.no_grad()
def doubts(bank: AdapterBank, pairs: Sequence[Pair], adapter: str | None = None, batch: int = 64) -> list[list[float]]:
    """Of each token of each target, how many nats less likely it is than the model's favourite in its place."""
    found: list[list[float]] = [[] for _ in pairs]
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        packed = pack([pairs[i] for i in chosen])
        logits_LV = label_logits(bank, packed, [adapter]).float().cpu()
        values = logits_LV.amax(-1) - logits_LV.gather(1, packed.labels_L[:, None])[:, 0]
        for place, value in zip(packed.pairs_L.tolist(), values.tolist(), strict=True):
            found[chosen[place]].append(value)
    return found
