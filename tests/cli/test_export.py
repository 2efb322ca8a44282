"""`export`: what PEFT and GGUF's reader find in the folder is the release's adapter; nothing half-written stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.base import load_base
from gradatim.workspace import Workspace
from tests.model.reference import PEFT_IS_BEHIND, trained

Run = Callable[..., Any]


@pytest.fixture
def learnt(run: Run, tiny_model: Path, tmp_path: Path) -> tuple[Path, str, Adapter]:
    """A workspace on the tiny model, whose live release has an adapter; and that adapter."""
    folder = tmp_path / "work"
    assert run("init", folder, "--model", tiny_model).code == 0
    base = load_base(str(tiny_model))
    adapter = trained(AdapterBank(base), "a")
    adapter.save(tmp_path / "saved", base=str(tiny_model))
    workspace = Workspace.open(folder)
    digest = workspace.adapters.add(tmp_path / "saved")
    made = workspace.registry.create(base=base.digest, adapters=(digest,), parent=workspace.registry.live_id())
    workspace.registry.promote(made.id, reason="test", by="test")
    return folder, digest, adapter


@pytest.mark.filterwarnings(PEFT_IS_BEHIND)
def test_peft_and_gguf_read_what_is_exported(
    run: Run, learnt: tuple[Path, str, Adapter], tiny_model: Path, tmp_path: Path
) -> None:
    import peft
    from transformers import LlamaForCausalLM

    folder, digest, adapter = learnt
    done = run("export", tmp_path / "out" / "here", "-w", folder, "--json")
    assert done.code == 0, done.err
    (one,) = done.data["adapters"]
    assert one["adapter"] == digest
    loaded = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(tiny_model), one["peft"])
    weights = dict(loaded.named_parameters())
    for module in adapter.modules:
        assert torch.equal(weights[f"base_model.model.{module}.lora_A.default.weight"], adapter.A[module])
    assert len(gguf.GGUFReader(one["gguf"]).tensors) == 2 * len(adapter.modules)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["here"]


def test_what_can_not_be_exported_is_refused_and_leaves_nothing(
    run: Run, learnt: tuple[Path, str, Adapter], tmp_path: Path
) -> None:
    folder, digest, _ = learnt
    there = run("export", tmp_path, "-w", folder)
    assert (there.code, "exists already" in there.err) == (2, True)
    first = Workspace.open(folder).registry.live().parent
    bare = run("export", tmp_path / "out", "--release", first, "-w", folder)
    assert (bare.code, "no adapter to export" in bare.err) == (2, True)
    damaged = Workspace.open(folder).adapters.folder / digest / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    broken = run("export", tmp_path / "out", "-w", folder)
    assert (broken.code, "does not match its digest" in broken.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
