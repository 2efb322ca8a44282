"""Log-probabilities of labels from hidden states, without ever holding the logits of a whole batch.

The head is frozen, so how a label's log-probability moves with its hidden state is known as soon as its value is:

    ∂ log p(label) / ∂ hidden = W[label] - Σ_v p(v) W[v]

Both are computed for a few positions at a time, whose logits stay in the processor's cache, and [L, D] is kept for the
way back where autograd would keep [L, V] three times over (the softmax, its gradient and the logits'). The same
operations in the same order of magnitude, none of the memory traffic; compare Liger (arXiv 2410.10989).

Limits: an objective that needs the whole distribution (a divergence over the vocabulary) takes the logits themselves.

Shape letters: L labels, C of them at a time, D hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_CHUNK_BYTES = 4 << 20  # of fp32 logits at a time
_LEAST_CHUNK = 128  # labels; with fewer, reading the head's weights would cost more than the product
_TOO_SMALL = 1e-30  # a chance whose logarithm fp32 can't be trusted with


def chunk_labels(vocabulary: int) -> int:
    """How many labels are computed at a time."""
    return max(_LEAST_CHUNK, _CHUNK_BYTES // (4 * vocabulary))


def log_probabilities_of(hidden_LD: Tensor, head: nn.Module, labels_L: Tensor) -> Tensor:
    """Log-probability [L] of each label after its hidden state, fp32, differentiable once in the hidden states."""
    values: Tensor = _LogProbability.apply(hidden_LD, head, labels_L)  # type: ignore[no-untyped-call]
    return values


class _LogProbability(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_LD: Tensor, head: nn.Module, labels_L: Tensor) -> Tensor:
        weight_VD: Tensor = head.weight  # type: ignore[assignment]
        bias_V: Tensor | None = getattr(head, "bias", None)
        each = max(1, min(chunk_labels(len(weight_VD)), len(labels_L)))
        values_L = torch.empty(len(labels_L), device=hidden_LD.device)
        slopes_LD = torch.empty_like(hidden_LD) if ctx.needs_input_grad[0] else None
        room_CV = hidden_LD.new_empty(each, len(weight_VD))  # each buffer once: a fresh one is paid for page by page
        chances_room_CV = room_CV.new_empty(room_CV.shape, dtype=torch.float32)
        for start in range(0, len(labels_L), each):
            here = slice(start, start + each)
            hidden_CD, of_label_C1 = hidden_LD[here], labels_L[here, None]
            logits_CV = torch.mm(hidden_CD, weight_VD.t(), out=room_CV[: len(hidden_CD)])
            if bias_V is not None:
                logits_CV += bias_V
            full_CV, chances_CV = logits_CV.float(), chances_room_CV[: len(hidden_CD)]
            torch.softmax(full_CV, -1, out=chances_CV)
            values_L[here] = _logarithms(chances_CV, full_CV, of_label_C1)
            if slopes_LD is not None:
                chances_CV.scatter_add_(1, of_label_C1, chances_CV.new_full(of_label_C1.shape, -1.0))
                torch.mm(
                    chances_CV if chances_CV.dtype == weight_VD.dtype else logits_CV.copy_(chances_CV),
                    weight_VD,
                    out=slopes_LD[here],
                )
        if slopes_LD is not None:
            ctx.save_for_backward(slopes_LD)
        return values_L

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slopes_LD,) = ctx.saved_tensors
        return (slopes_LD * -gradients[0][:, None]).to(slopes_LD.dtype), None, None


def _logarithms(chances_CV: Tensor, logits_CV: Tensor, of_label_C1: Tensor) -> Tensor:
    """log p of the labels [C]; from the logits where p is too small to tell."""
    chance_C = chances_CV.gather(1, of_label_C1)[:, 0]
    values_C = chance_C.log()
    small_C = chance_C < _TOO_SMALL
    if small_C.any():
        few_SV = logits_CV[small_C]
        values_C[small_C] = few_SV.gather(1, of_label_C1[small_C])[:, 0] - few_SV.logsumexp(-1)
    return values_C
