"""Per-token log-probabilities of packed targets: the one forward pass under training, judging and distilling.

The output head, a fifth of a small model's work, is applied only where a label is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Packed, Pair, pack


def label_logits(bank: AdapterBank, packed: Packed, names: Sequence[str | None]) -> Tensor:
    """Logits [L, V] at the labelled positions, row i computed with adapter `names[i]`."""
    device = bank.base.device
    with bank.rows(names):
        hidden_RTD = bank.base.backbone(
            input_ids=packed.ids_RT.to(device),
            attention_mask=_additive(packed.mask_R1TT, bank.base.dtype).to(device),
            position_ids=packed.positions_RT.to(device),
            use_cache=False,
        ).last_hidden_state
    logits: Tensor = bank.base.head(hidden_RTD.flatten(0, 1)[packed.sources_L.to(device)])
    return logits


def _additive(mask_R1TT: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may look and the lowest number elsewhere: the form that every attention kernel takes."""
    return torch.zeros(mask_R1TT.shape, dtype=dtype).masked_fill_(~mask_R1TT, torch.finfo(dtype).min)


def log_probabilities(bank: AdapterBank, packed: Packed, names: Sequence[str | None]) -> Tensor:
    """Log-probability [L] of each label, fp32."""
    logits = label_logits(bank, packed, names).float()
    return -F.cross_entropy(logits, packed.labels_L.to(logits.device), reduction="none")


@torch.no_grad()
def score(bank: AdapterBank, pairs: Sequence[Pair], adapter: str | None, batch: int = 64) -> Tensor:
    """Total log-probability [len(pairs)] of each target after its prompt, in nats."""
    totals = torch.zeros(len(pairs))
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        packed = pack([pairs[i] for i in chosen])
        values = log_probabilities(bank, packed, [adapter] * packed.rows).cpu()
        totals[torch.tensor(chosen)] = torch.zeros(len(chosen)).index_add(0, packed.pairs_L, values)
    return totals
