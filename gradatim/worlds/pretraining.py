"""Train a small Llama, from scratch or from an earlier one on, on texts that a world makes up as they are needed.

    tokenizer = word_level(words, pattern)
    log = pretrained(Making(steps=3500), tokenizer, corpus.batch, folder)

What comes out is a folder in Hugging Face layout, with `training.json` beside the weights: settings, size and log, and
under `before` the same of the model it was trained on from, if there was one.

Limits: fp32, one process, no checkpoints: minutes, not days. The same seed gives the same weights on the same machine
with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gradatim.errors import InputError

_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")

END, UNKNOWN = "<|end|>", "<|unknown|>"


@dataclass(frozen=True, slots=True)
class Making:
    """Shape and training of a small model."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 352
    steps: int = 3500
    batch: int = 48
    learning_rate: float = 3e-3
    seed: int = 0


@dataclass(slots=True)
class Text:
    """A text to train on, and which of its tokens have a label."""

    ids: list[int] = field(default_factory=list)
    labelled: list[bool] = field(default_factory=list)

    def give(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.labelled += [False] * len(ids)

    def label(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.labelled += [True] * len(ids)


def word_level(words: Sequence[str], pattern: str) -> PreTrainedTokenizerFast:
    """One token for each of the words, which `pattern` finds in a text; what it does not match is dropped."""
    numbers = {word: i for i, word in enumerate((END, UNKNOWN, *words))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, unk_token=UNKNOWN)


def pretrained(
    settings: Making,
    tokenizer: PreTrainedTokenizerFast,
    batch: Callable[[], Sequence[Text]],
    folder: Path,
    report: Callable[[dict[str, float]], None] = lambda row: None,
    start: Path | None = None,
    anew: Sequence[str] = (),
) -> list[dict[str, float]]:
    """Train on `settings.steps` batches, save to `folder`, and return the log of losses.

    `start` is a folder of the same making to go on from, with other embeddings for the words in `anew`, drawn at
    random. Raises InputError where it is of another shape or vocabulary.
    """
    torch.manual_seed(settings.seed)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.inner,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    before = None
    if start is not None:
        before = _taken(model, start, tokenizer)
        _draw_anew(model, [tokenizer.get_vocab()[word] for word in anew])
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    log: list[dict[str, float]] = []
    began, tokens, losses = time.monotonic(), 0, [0.0]
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings.steps)
        ids_BT, labels_BT = _padded(batch())
        logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
        loss = F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=-100)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += ids_BT.numel()
        losses.append(float(loss.detach()))
        if step % 250 == 249 or step == settings.steps - 1:
            row = {"step": step + 1, "tokens": tokens, "loss": round(sum(losses[-250:]) / len(losses[-250:]), 4)}
            log.append({**row, "seconds": round(time.monotonic() - began)})
            report(log[-1])
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    told = {"settings": asdict(settings), "parameters": model.num_parameters(), "log": log}
    if before is not None:
        told |= {"anew": [*anew], "before": before}
    (folder / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    return log


_Kind = TypeVar("_Kind", bound=Making, contravariant=True)


class Pretrain(Protocol[_Kind]):
    """How a world trains its model; raises InputError where it can't go on from `start`."""

    def __call__(
        self, settings: _Kind, folder: Path, report: Callable[[dict[str, float]], None], start: Path | None
    ) -> object: ...


def command(
    parser: argparse.ArgumentParser, kind: type[_Kind], names: Sequence[str], pretrain: Pretrain[_Kind]
) -> None:
    """Train a model as the command line says: a new folder, the settings that are named, what to go on from."""
    parser.add_argument("folder", type=Path)
    for name in names:
        default = getattr(kind(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--start", type=Path, help="the folder of an earlier model to go on from")
    chosen = vars(parser.parse_args())
    folder, start = chosen.pop("folder"), chosen.pop("start")
    if folder.exists():
        parser.error(f"{folder} exists already: name a new folder")
    try:
        pretrain(kind(**chosen), folder, lambda row: print(json.dumps(row), flush=True), start)  # noqa: T201
    except InputError as error:
        parser.error(str(error))


def _taken(model: Any, start: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Give the model the weights in `start`; returns how they were made."""
    try:
        words = PreTrainedTokenizerFast.from_pretrained(start, local_files_only=True).get_vocab()
        made: dict[str, Any] = json.loads((start / "training.json").read_text("utf-8"))
        earlier = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{start} is no model to go on from: {str(error).splitlines()[0]}") from error
    unlike = [name for name in _SHAPE if getattr(earlier.config, name) != getattr(model.config, name)]
    if words != tokenizer.get_vocab() or unlike:
        raise InputError(f"{start} is no model to go on from: it differs in {', '.join(unlike) or 'its vocabulary'}.")
    model.load_state_dict(earlier.state_dict())
    return made


@torch.no_grad()
def _draw_anew(model: Any, ids: Sequence[int]) -> None:
    """Other embeddings for these tokens, as long as all are on average."""
    weights = model.get_input_embeddings().weight
    for token in ids:
        weights[token] = torch.randn(weights.shape[1]) * weights.square().mean().sqrt()


def _schedule(step: int, steps: int, warm: int = 200) -> float:
    return min(1.0, (step + 1) / warm) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _padded(texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
    """Ids and labels [B, T], padded on the right, where nothing looks."""
    width = max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    labels = torch.full((len(texts), width), -100)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        wanted = [token if label else -100 for token, label in zip(text.ids, text.labelled, strict=True)]
        labels[row, : len(wanted)] = torch.tensor(wanted)
    return ids, labels
