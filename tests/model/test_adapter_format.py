"""Adapters are kept as PEFT keeps them: either side reads what the other wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gradatim.errors import ModelError
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from tests.model.reference import PEFT_IS_BEHIND, random_ids, trained
from tests.tiny import TINY, tiny_base

pytestmark = pytest.mark.filterwarnings(PEFT_IS_BEHIND)

IDS = random_ids(0, 2, 10)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def with_adapter(bank: AdapterBank, name: str) -> Tensor:
    with bank.rows([name] * len(IDS)), torch.no_grad():
        logits: Tensor = bank.base.model(IDS).logits
    return logits


def load(bank: AdapterBank, folder: Path) -> Adapter:
    return Adapter.load(folder, bank.module_shapes(), "cpu")


def saved_by_peft(folder: Path, kind: str = "llama", **settings: Any) -> Any:
    """A PEFT model whose LoRA weights are all random, and its adapter saved in `folder`."""
    settings = {"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM", "fan_in_fan_out": kind == "gpt2", **settings}
    torch.manual_seed(0)
    model = peft.get_peft_model(TINY[kind](), peft.LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    model.save_pretrained(str(folder))
    return model


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("layers", [None, range(1, 2)], ids=["all", "one layer"])
@pytest.mark.parametrize("kind", list(TINY))
def test_peft_reads_what_the_bank_saved(kind: str, layers: range | None, tmp_path: Path) -> None:
    bank = AdapterBank(tiny_base(kind))
    trained(bank, "a", layers=layers).save(tmp_path, "some/base")
    model = peft.PeftModel.from_pretrained(TINY[kind](), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, with_adapter(bank, "a"), rtol=0, atol=1e-5)
        assert (with_adapter(bank, "a") - TINY[kind]()(IDS).logits).abs().max() > 0.01
        merged = model.merge_and_unload()(IDS).logits
    torch.testing.assert_close(merged, with_adapter(bank, "a"), rtol=0, atol=1e-5)
    assert json.loads((tmp_path / CONFIG).read_text())["base_model_name_or_path"] == "some/base"


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("llama", "all-linear"),
        ("llama", ["q_proj", "v_proj"]),
        ("qwen2", "all-linear"),
        ("qwen2", ["down_proj"]),
        ("gpt2", "all-linear"),
        ("gpt2", ["c_attn"]),
    ],
)
@pytest.mark.parametrize("initialisation", [True, "gaussian"])
def test_the_bank_reads_what_peft_saved(kind: str, targets: Any, initialisation: Any, tmp_path: Path) -> None:
    model = saved_by_peft(tmp_path, kind, target_modules=targets, init_lora_weights=initialisation)
    bank = AdapterBank(tiny_base(kind))
    bank.add("theirs", load(bank, tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(with_adapter(bank, "theirs"), model(IDS).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", list(TINY))
def test_an_adapter_read_back_is_the_same(kind: str, tmp_path: Path) -> None:
    bank = AdapterBank(tiny_base(kind))
    adapter = trained(bank, "a", rank=3, alpha=5.0)
    adapter.save(tmp_path / "deep" / "folder")
    again = load(bank, tmp_path / "deep" / "folder")
    assert (again.rank, again.alpha, again.scale) == (3, 5.0, 5 / 3)
    assert again.modules == adapter.modules
    for name in adapter.modules:
        assert torch.equal(again.A[name], adapter.A[name])
        assert torch.equal(again.B[name], adapter.B[name])
    again.save(tmp_path / "again")
    for file in (WEIGHTS, CONFIG):
        assert json_or_bytes(tmp_path / "again" / file) == json_or_bytes(tmp_path / "deep" / "folder" / file)


def json_or_bytes(file: Path) -> Any:
    if file.suffix != ".json":
        return {name: tensor.tolist() for name, tensor in load_file(file).items()}
    return json.loads(file.read_text()) | {"base_model_name_or_path": ""}


# ------------------------------------------------------------------ what is refused


def refusal(bank: AdapterBank, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(bank, folder)
    message = str(caught.value)
    assert str(folder) in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"init_lora_weights": "olora"}, "init_lora_weights olora"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"trainable_token_indices": [3, 4]}, "trainable_token_indices"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers.:UserWarning")
@pytest.mark.filterwarnings("ignore::peft.utils.warning.PeftWarning")  # of lora_bias
def test_what_peft_computes_otherwise_is_refused(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    saved_by_peft(tmp_path, **{"target_modules": ["q_proj", "v_proj"], **settings})
    assert says in refusal(AdapterBank(tiny_base()), tmp_path)


def test_another_method_is_refused(tmp_path: Path) -> None:
    model = peft.get_peft_model(TINY["llama"](), peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]))
    model.save_pretrained(str(tmp_path))
    assert "IA3" in refusal(AdapterBank(tiny_base()), tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("gpt2", {}, "has no module model.layers.0"),
        ("llama", {"num_hidden_layers": 1}, "has no module model.layers.1"),
        ("llama", {"intermediate_size": 64}, "this base needs (4, 64)"),
        ("qwen2", {"num_key_value_heads": 4}, "this base needs (32, 4)"),
    ],
)
def test_an_adapter_of_another_base_is_refused(kind: str, settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    trained(AdapterBank(tiny_base()), "a").save(tmp_path)
    message = refusal(AdapterBank(tiny_base(kind, **settings)), tmp_path)
    assert "made for another base" in message
    assert says in message


def cut_in_half(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def turn_into_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def turn_into_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(min(tensors))
    save_file(tensors, folder / WEIGHTS)


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / CONFIG).read_text()) | changes
        (folder / CONFIG).write_text(json.dumps({name: value for name, value in settings.items() if value is not ...}))

    return change


def config_text(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / CONFIG).write_text(text)

    return change


BROKEN: dict[str, Callable[[Path], Any]] = {
    "no folder": shutil.rmtree,
    "no configuration": lambda folder: (folder / CONFIG).unlink(),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "pickle only": turn_into_pickle,
    "weights cut in half": cut_in_half,
    "weights empty": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "weights are text": lambda folder: (folder / WEIGHTS).write_text("hello " * 50),
    "weights are a folder": turn_into_a_folder,
    "weights hold nothing": lambda folder: save_file({}, folder / WEIGHTS),
    "one tensor missing": drop_a_tensor,
    "configuration is no json": config_text("{"),
    "configuration is a list": config_text("[]"),
    "configuration is binary": lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe\x00"),
    "rank missing": lambda folder: (folder / CONFIG).write_text('{"peft_type": "LORA", "lora_alpha": 1}'),
    "rank wrong": config(r=3),
    "rank nought": config(r=0),
    "rank negative": config(r=-4),
    "rank a word": config(r="many"),
    "rank null": config(r=None),
    "alpha null": config(lora_alpha=None),
    "method missing": config_text("{}"),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_folder_is_refused_in_one_line(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    bank = AdapterBank(tiny_base())
    folder = tmp_path / "adapter"
    trained(bank, "a").save(folder)
    load(bank, folder)
    damage(folder)
    refusal(bank, folder)
