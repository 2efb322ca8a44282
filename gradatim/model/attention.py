"""Attention for rows of one length and for lines of many texts, without repeating keys and values of grouped heads.

Decoding many rows is bound by memory: transformers' own kernel copies every key and value once per query head of its
group before multiplying. Here the queries of a group are stacked instead, so that keys and values are read in place
(grouped-query attention, Ainslie et al. 2023). Softmax in fp32; the numbers are those of transformers' eager kernel up
to the order of sums. On an accelerator torch's fused kernel does the same.

Within `laid_out(layout)` the one row of the batch is a line of texts end to end (`model/packing.py`): each rectangle of
the layout is attended to by itself.

Shape letters: R rows, H query heads, K key–value heads, G = H / K, T queries, L keys, D head size.
Limits: no dropout, no soft-capping, no attention sinks; a model that asks for one of these is refused, and so is a text
in a line that is longer than a model's sliding window.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradatim.errors import ModelError
from gradatim.model.packing import Layout, Rectangle

NAME = "gradatim_grouped"
_LINE: ContextVar[Layout | None] = ContextVar("line", default=None)
_FUSED_FROM = 512  # keys; below, plain matmuls are faster on a processor


@contextmanager
def laid_out(layout: Layout) -> Iterator[None]:
    """Within this context, the single row of every batch is a line with this layout."""
    token = _LINE.set(layout)
    try:
        yield
    finally:
        _LINE.reset(token)


def grouped_attention(
    module: nn.Module,
    query_RHTD: Tensor,
    key_RKLD: Tensor,
    value_RKLD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """The signature is that of transformers' attention interface; returns [R, T, H, D] and no weights."""
    if settings.get("softcap") is not None or settings.get("s_aux") is not None:
        raise ModelError("This model's attention (soft-capped, or with sinks) is not supported on a processor yet.")
    scale = query_RHTD.shape[-1] ** -0.5 if scaling is None else scaling
    layout = _LINE.get()
    if layout is None:
        return _attend(query_RHTD, key_RKLD, value_RKLD, attention_mask, scale).transpose(1, 2).contiguous(), None
    window = settings.get("sliding_window")
    if window is not None and layout.longest > window:
        raise ModelError(f"A text of {layout.longest} tokens is longer than this model's attention window of {window}.")
    query_PHD, key_PKD, value_PKD = (_fold(heads, layout) for heads in (query_RHTD, key_RKLD, value_RKLD))
    outputs = [_rectangle(query_PHD, key_PKD, value_PKD, layout.rectangles, one, scale) for one in layout.rectangles]
    folded_PHD = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return (folded_PHD if layout.straight else pick(folded_PHD, layout.outputs_T))[None], None


def _rectangle(
    query_PHD: Tensor, key_PKD: Tensor, value_PKD: Tensor, all_: tuple[Rectangle, ...], one: Rectangle, scale: float
) -> Tensor:
    """What one rectangle's places get, [S·Q, H, D]."""
    query, key, value = (_rows(heads, one) for heads in (query_PHD, key_PKD, value_PKD))
    if one.prefixes_S is not None:
        before = [_rows(heads, all_[0]) for heads in (key_PKD, value_PKD)]
        if all_[0].sequences == 1:
            before = [prefix.expand(one.sequences, -1, -1, -1) for prefix in before]
        else:
            before = [prefix.index_select(0, one.prefixes_S) for prefix in before]
        key, value = (torch.cat(pair, dim=1) for pair in zip(before, (key, value), strict=True))
    mask = one.mask_SQK[:, None]
    mixed = _attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), mask, scale)
    return mixed.transpose(1, 2).flatten(0, 1)


def _rows(heads_PHD: Tensor, one: Rectangle) -> Tensor:
    mine_PHD = heads_PHD[one.start : one.start + one.sequences * one.width]
    return mine_PHD.view(one.sequences, one.width, *heads_PHD.shape[1:])


def _fold(heads_RHTD: Tensor, layout: Layout) -> Tensor:
    line_THD = heads_RHTD[0].transpose(0, 1)
    folded: Tensor = line_THD if layout.straight else _Fold.apply(line_THD, layout)  # type: ignore[no-untyped-call]
    return folded


class _Fold(torch.autograd.Function):
    """Line to places. Padding has no influence, so its gradient is zero and the way back is a gather as well."""

    @staticmethod
    def forward(ctx: Any, line_THD: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return line_THD.index_select(0, layout.inputs_P)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].index_select(0, ctx.layout.outputs_T), None


def pick(rows_PHD: Tensor, places: Tensor) -> Tensor:
    """The rows at these places, no two the same, so that the way back is a copy and not a sum."""
    picked: Tensor = _Pick.apply(rows_PHD, places)  # type: ignore[no-untyped-call]
    return picked


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_PHD: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.rows = len(rows_PHD)
        return rows_PHD.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        spread = gradients[0].new_zeros(ctx.rows, *gradients[0].shape[1:])
        return spread.index_copy_(0, ctx.saved_tensors[0], gradients[0]), None


def _attend(query_RHTD: Tensor, key_RKLD: Tensor, value_RKLD: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """[R, H, T, D]; `mask` is additive, [R, 1, T, ≥ L]."""
    rows, heads, queries, _ = query_RHTD.shape
    groups, keys = key_RKLD.shape[1:3]
    if mask is not None:
        mask = mask[..., :keys]
    if query_RHTD.device.type != "cpu" or (queries > 1 and keys >= _FUSED_FROM):
        return F.scaled_dot_product_attention(
            query_RHTD, key_RKLD, value_RKLD, mask, scale=scale, enable_gqa=heads != groups
        )
    stacked = (query_RHTD * scale).reshape(rows, groups, -1, query_RHTD.shape[-1])
    scores = torch.matmul(stacked, key_RKLD.transpose(2, 3))
    if mask is not None:
        scores = (scores.view(rows, groups, heads // groups, queries, -1) + mask[:, :, None]).view_as(scores)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value_RKLD.dtype)
    return torch.matmul(weights, value_RKLD).view(rows, heads, queries, -1)


def register() -> str:
    """Make the kernel known to transformers, masks as for its eager one; returns the name to load models with."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
