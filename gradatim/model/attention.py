"""Attention by plain matmuls for processors, without repeating the keys and values of grouped heads.

Decoding many rows is bound by memory: transformers' own kernel copies every key and value once per query head of its
group before multiplying. Here the queries of a group are stacked instead, so that keys and values are read in place
(grouped-query attention, Ainslie et al. 2023). Softmax in fp32; the numbers are those of transformers' eager kernel up
to the order of sums.

Shape letters: R rows, H query heads, K key–value heads, G = H / K, T queries, L keys, D head size.
Limits: no dropout, no soft-capping, no attention sinks; a model that asks for one of these is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gradatim.errors import ModelError

NAME = "gradatim_grouped"


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
    rows, heads, queries, size = query_RHTD.shape
    groups = key_RKLD.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    stacked = query_RHTD.reshape(rows, groups, -1, size)
    scores = torch.matmul(stacked, key_RKLD.transpose(2, 3)) * scale
    if attention_mask is not None:
        shaped = scores.view(rows, groups, heads // groups, queries, -1)
        scores = (shaped + attention_mask[:, :, None, :, : key_RKLD.shape[2]]).view_as(scores)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value_RKLD.dtype)
    mixed = torch.matmul(weights, value_RKLD).view(rows, heads, queries, -1)
    return mixed.transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the kernel known to transformers, masks as for its eager one; returns the name to load models with."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME
