"""RMSNorm as one node of autograd, with the bits that transformers' own gives.

Written out, y = w · x / √(mean x² + ε) is six operations, of which autograd keeps four results for the way back. The
way back is known (Zhang and Sennrich 2019, arXiv 1910.07467):

    ∂x = i · (w g - n · mean(n · w g))     with i = 1 / √(mean x² + ε), n = i x

and needs the input and one number a row. The norm's weight is frozen like the rest of the base.

Limits: RMSNorm as Llama, Mistral and Qwen have it, recognised by its class's name and `variance_epsilon`; any other
norm runs as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def norms_of(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that `run_as_one_node` knows."""
    for module in model.modules():
        plain = set(dict(module.named_parameters())) == {"weight"}
        if plain and type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            yield module


def run_as_one_node(norm: nn.Module) -> None:
    """Replace the module's forward; `as_it_was` undoes it."""
    epsilon = float(norm.variance_epsilon)  # type: ignore[arg-type]
    plain = norm.forward

    def forward(x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return plain(x)  # type: ignore[no-any-return]
        y: Tensor = _RMSNorm.apply(x, norm.weight, epsilon)  # type: ignore[no-untyped-call]
        return y

    norm.forward = forward


def as_it_was(norm: nn.Module) -> None:
    del norm.forward  # the class's own shows again


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        wide = x.to(torch.float32)
        inverse = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight_D, inverse)
        return weight_D * (wide * inverse).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, weight_D, inverse = ctx.saved_tensors
        normed = x.to(torch.float32) * inverse
        weighed = (gradients[0] * weight_D).to(torch.float32)
        along = torch.linalg.vecdot(weighed, normed).div_(x.shape[-1]).unsqueeze(-1)
        return weighed.addcmul_(normed, along, value=-1).mul_(inverse).to(x.dtype), None, None
