"""An adapter as llama.cpp reads it: one GGUF file, for `llama-server --lora FILE` on the same base.

The layout is that of llama.cpp's own converter: `general.type` adapter, `adapter.type` lora, `adapter.lora.alpha`, and
for each module `NAME.lora_a` [rank, in] and `NAME.lora_b` [out, rank], both fp32, under GGUF's names of the modules.
Llama-like bases keep the rows of the query and key weights in another order in GGUF than in transformers (pairs of the
rotary embedding side by side instead of half a head apart), so the rows of B are put in that order too.

vLLM and PEFT read the folder that `Adapter.save` writes as it is.

Limits: what GGUF has no name for is refused. The file says what the adapter adds, not when: a lesson's gate stays here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradatim.errors import ModelError
from gradatim.model.adapter import Adapter

_SAME_AS = {"mistral": "llama"}


def save_gguf(adapter: Adapter, config: Any, file: Path) -> None:
    """Write an adapter of a base with this transformers configuration; raises ModelError where GGUF has none such."""
    import gguf

    kind = _SAME_AS.get(config.model_type, config.model_type)
    architecture = next((arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == kind), None)
    if architecture is None:
        raise ModelError(f"GGUF has no architecture {config.model_type}: use the PEFT folder instead.")
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    tensors: dict[str, NDArray[np.float32]] = {}
    for module in adapter.modules:
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None:
            raise ModelError(f"GGUF has no name for {module} of {config.model_type}: use the PEFT folder instead.")
        A, B = (views[module].detach().cpu().numpy() for views in (adapter.A, adapter.B))
        if kind == "llama" and ".attn_q." in name:
            B = _paired(B, config.num_attention_heads)
        elif kind == "llama" and ".attn_k." in name:
            B = _paired(B, config.num_key_value_heads)
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = A, np.ascontiguousarray(B)
    writer = gguf.GGUFWriter(file, kind)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, adapter.alpha)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _paired(B: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head from two halves to pairs."""
    return B.reshape(heads, 2, B.shape[0] // heads // 2, B.shape[1]).swapaxes(1, 2).reshape(B.shape)
