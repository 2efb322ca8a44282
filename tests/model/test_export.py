"""An exported adapter, read back by GGUF's own reader and unpermuted by transformers' own loader, is the adapter."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from gradatim.errors import ModelError
from gradatim.model.adapter import Adapter, ModuleShape
from gradatim.model.bank import AdapterBank
from gradatim.model.export import save_gguf
from tests.model.reference import trained
from tests.tiny import TINY, tiny_base

NAMES = {
    "llama": {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "mlp.down_proj": "ffn_down"},
    "qwen2": {"self_attn.q_proj": "attn_q", "self_attn.v_proj": "attn_v", "mlp.gate_proj": "ffn_gate"},
    "gpt2": {"attn.c_attn": "attn_qkv", "mlp.c_proj": "ffn_down"},
}


@pytest.mark.parametrize("kind", list(TINY))
def test_the_file_holds_the_adapter_under_ggufs_names(kind: str, tmp_path: Path) -> None:
    bank = AdapterBank(tiny_base(kind))
    adapter = trained(bank, "a", rank=4, alpha=6.0)
    config = bank.base.model.config
    save_gguf(adapter, config, tmp_path / "a.gguf")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == kind
    assert (said["general.type"], said["adapter.type"], said["adapter.lora.alpha"]) == ("adapter", "lora", 6.0)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert len(tensors) == 2 * len(adapter.modules)
    prefix = "transformer.h" if kind == "gpt2" else "model.layers"
    for block in range(2):
        for module, name in NAMES[kind].items():
            full, key = f"{prefix}.{block}.{module}", f"blk.{block}.{name}.weight"
            A, B = tensors[f"{key}.lora_a"], tensors[f"{key}.lora_b"]
            if kind == "llama":
                heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
                B = LlamaTensorProcessor(config=heads).process(B, key).weights
            torch.testing.assert_close(torch.tensor(B @ A), (adapter.B[full] @ adapter.A[full]).detach())


def test_rows_are_permuted_only_where_gguf_permutes_them(tmp_path: Path) -> None:
    bank = AdapterBank(tiny_base())
    adapter = trained(bank, "a")
    save_gguf(adapter, bank.base.model.config, tmp_path / "a.gguf")
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    same = {
        name: torch.equal(tensors[f"blk.0.{name}.weight.lora_b"], adapter.B[f"model.layers.0.{module}"])
        for module, name in (("self_attn.q_proj", "attn_q"), ("self_attn.v_proj", "attn_v"), ("mlp.up_proj", "ffn_up"))
    }
    assert same == {"attn_q": False, "attn_v": True, "ffn_up": True}


def test_what_gguf_does_not_know_is_refused(tmp_path: Path) -> None:
    config: Any = SimpleNamespace(model_type="nonesuch", num_hidden_layers=1)
    strange = Adapter([ModuleShape("model.layers.0.mlp.gate_proj", 4, 4)], 2, 2.0, "cpu")
    with pytest.raises(ModelError, match="no architecture nonesuch"):
        save_gguf(strange, config, tmp_path / "a.gguf")
    config.model_type = "llama"
    strange = Adapter([ModuleShape("model.layers.0.mlp.oddity", 4, 4)], 2, 2.0, "cpu")
    with pytest.raises(ModelError, match=r"no name for model\.layers\.0\.mlp\.oddity"):
        save_gguf(strange, config, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
