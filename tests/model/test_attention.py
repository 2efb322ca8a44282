"""Our attention kernel gives what transformers' own kernels give: grouped or not, padded, cached, scaled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, DeepseekV3Config, DeepseekV3ForCausalLM

from gradatim.errors import ModelError
from gradatim.model.attention import NAME, grouped_attention, register
from gradatim.model.base import attention_kernel
from tests.model.reference import random_ids
from tests.tiny import TINY

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped": ("llama", {}),
    "one key for all": ("llama", {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 1}),
    "a key for each": ("qwen2", {"num_key_value_heads": 4}),
    "sliding window": ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "conv1d": ("gpt2", {}),
    "scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "not scaled": ("gpt2", {"scale_attn_weights": False}),
}
IDS = random_ids(0, 3, 20)


def padded(model: Any) -> Tensor:
    """Logits of rows padded on the left, the second half of them computed from a cache."""
    mask = torch.ones_like(IDS)
    mask[0, :7], mask[1, :12] = 0, 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    first = model(input_ids=IDS[:, :10], attention_mask=mask[:, :10], position_ids=positions[:, :10], use_cache=True)
    rest = {"input_ids": IDS[:, 10:], "attention_mask": mask, "position_ids": positions[:, 10:]}
    second = model(**rest, past_key_values=first.past_key_values, use_cache=True)
    return torch.cat([first.logits, second.logits], 1)[mask.bool()]


@pytest.mark.parametrize(("kind", "settings"), MODELS.values(), ids=list(MODELS))
@pytest.mark.parametrize("other", ["eager", "sdpa"])
def test_logits_and_gradients_are_those_of_transformers_kernels(
    other: str, kind: str, settings: dict[str, Any]
) -> None:
    ours, theirs = (TINY[kind](attention=kernel, **settings) for kernel in (NAME, other))
    torch.testing.assert_close(padded(ours), padded(theirs), rtol=0, atol=2e-5)
    for model in (ours, theirs):
        model(IDS).logits.square().mean().backward()
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    compared = [((a.grad - b.grad).abs().max(), b.grad.abs().max()) for a, b in pairs if b.grad is not None]
    largest = max(size for _, size in compared)
    assert all(gap <= 1e-5 * largest for gap, _ in compared)
    assert len(compared) > 10


def test_the_kernel_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = TINY["llama"](attention="eager")(IDS).logits
    model = TINY["llama"](attention=NAME)

    def sharper(module: nn.Module, query: Tensor, *rest: Any, **more: Any) -> tuple[Tensor, None]:
        return grouped_attention(module, query * 1.01, *rest, **more)

    AttentionInterface.register(NAME, sharper)
    try:
        assert (model(IDS).logits - expected).abs().max() > 0.01
    finally:
        register()
    torch.testing.assert_close(model(IDS).logits, expected, rtol=0, atol=2e-5)


def test_values_may_have_another_size_than_keys() -> None:
    sizes = {"v_head_dim": 6, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "q_lora_rank": 8, "kv_lora_rank": 8}
    logits = []
    for kernel in (NAME, "eager"):
        config: Any = DeepseekV3Config(
            vocab_size=320,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            first_k_dense_replace=2,
            **sizes,  # type: ignore[arg-type]
        )
        torch.manual_seed(0)
        model: Any = DeepseekV3ForCausalLM(config).eval()
        model.set_attn_implementation(kernel)
        logits.append(model(IDS).logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=2e-5)


@pytest.mark.parametrize("setting", ["softcap", "s_aux"])
def test_what_the_kernel_does_not_compute_is_refused(setting: str) -> None:
    heads = torch.randn(1, 2, 3, 4)
    with pytest.raises(ModelError, match="not supported"):
        grouped_attention(nn.Module(), heads, heads, heads, None, **{setting: 1.0})


def test_the_kernel_is_for_processors() -> None:
    assert (attention_kernel("cpu"), attention_kernel("cuda"), attention_kernel("cuda:1")) == (NAME, "sdpa", "sdpa")
