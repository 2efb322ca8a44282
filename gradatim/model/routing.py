"""Which mind answers: a gate for every adapter, read from the frozen base.

A gate is a logistic regression on a hidden state of the *base* (mean over the question's tokens, one middle layer).
It is fitted when its adapter is trained, on the adapter's study questions against unrelated prompts and against what
earlier adapters studied, and travels with it in `gate.safetensors`. A question is first for the newest adapter whose
gate holds it for its own, and for the bare base when none does: a newer gate knows the older subjects, an older one
not the newer. What no gate claims is answered by the base bit for bit, so it can't be forgotten; lessons learnt at
different times don't overwrite each other (after MEGa, arXiv 2504.21239, which gates by embedding similarity).

Limits: a question the gate misses is answered as if nothing had been learnt, one it wrongly claims is answered by the
adapter; both rates are measured by the judge. The features belong to one base: a gate can't be moved to another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gradatim.errors import ModelError
from gradatim.model.bank import AdapterBank

GATE_FILE = "gate.safetensors"
_DEPTH = 0.4  # which layer is read, as a share of the depth


@dataclass(frozen=True, slots=True)
class Gate:
    """Probability = sigmoid(((x − mean) / spread) · weight + bias), x [D] a question's features."""

    mean: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, features_QD: Tensor) -> Tensor:
        """Logits [Q]; above 0 the adapter is more likely than not."""
        return ((features_QD - self.mean) / self.spread) @ self.weight + self.bias

    @classmethod
    def fit(cls, mine_PD: Tensor, others_ND: Tensor, penalty: float = 0.01) -> Gate:
        """L2-penalised logistic regression, the two classes weighing the same."""
        both = torch.cat([mine_PD, others_ND])
        mean, spread = others_ND.mean(0), both.std(0) + 1e-6
        inputs = (both - mean) / spread
        labels = torch.cat([torch.ones(len(mine_PD)), torch.zeros(len(others_ND))])
        shares = torch.where(labels > 0, 0.5 / len(mine_PD), 0.5 / len(others_ND))
        weight = torch.zeros(both.shape[1], requires_grad=True)
        bias = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            errors = F.binary_cross_entropy_with_logits(inputs @ weight + bias, labels, reduction="none")
            value = (shares * errors).sum() + penalty * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return cls(mean, spread, weight.detach(), bias.detach())

    def save(self, folder: Path) -> None:
        tensors = {"mean": self.mean, "spread": self.spread, "weight": self.weight, "bias": self.bias}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / GATE_FILE)

    @classmethod
    def load(cls, folder: Path) -> Gate:
        try:
            tensors = load_file(folder / GATE_FILE)
            return cls(tensors["mean"], tensors["spread"], tensors["weight"], tensors["bias"])
        except (OSError, KeyError, SafetensorError) as error:
            raise ModelError(f"{folder / GATE_FILE} is not a readable gate ({error}).") from error


class Claim(NamedTuple):
    """That an adapter holds a question for its own, and the log-odds of that by its gate; infinite without a gate."""

    adapter: str
    logit: float


class Router:
    """Sends each question to an adapter of the bank or to the base. An adapter without a gate takes every question."""

    def __init__(self, bank: AdapterBank, gates: Mapping[str, Gate | None]) -> None:
        self.bank = bank
        self.gates = dict(gates)

    def claims(self, questions: Sequence[str], least: float = 0.0) -> list[list[Claim]]:
        """The adapters that hold each question for their own, the newest first. None claims it: it is the base's.

        `least` is the log-odds that a gate must exceed: below 0 where other evidence is weighed afterwards.
        """
        if not self.gates or not questions:
            return [[] for _ in questions]
        ungated = [name for name, gate in self.gates.items() if gate is None]
        if ungated:
            return [[Claim(ungated[-1], math.inf)] for _ in questions]
        return self.claims_of(features(self.bank, questions), least)

    def claims_of(self, features_QD: Tensor, least: float = 0.0) -> list[list[Claim]]:
        """The same for features at hand."""
        claims: list[list[Claim]] = [[] for _ in features_QD]
        for name, gate in reversed(self.gates.items()):
            if gate is not None:
                for claimed, logit in zip(claims, gate(features_QD).tolist(), strict=True):
                    if logit > least:
                        claimed.append(Claim(name, logit))
        return claims


class _Reached(Exception):
    """Raised by a hook to end a forward pass at the layer that is read."""

    def __init__(self, hidden_RTD: Tensor) -> None:
        self.hidden_RTD = hidden_RTD


@torch.inference_mode()
def features(bank: AdapterBank, questions: Sequence[str], batch: int = 96) -> Tensor:
    """Features [Q, D], fp32 on the CPU: the base's hidden state after a middle layer, mean over the question's tokens.

    What the chat template puts before every question is run once, what it puts after is not needed, and neither are
    the layers above the one that is read.
    """
    opening, closing = bank.base.chat.frame
    prompts = [bank.base.chat.prompt(question) for question in questions]
    own = [prompt[opening : len(prompt) - closing] or prompt[-1:] for prompt in prompts]
    order = sorted(range(len(own)), key=lambda i: len(own[i]))
    found: list[Tensor] = [torch.empty(0)] * len(own)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for index, row in zip(chosen, _mean_hidden(bank, prompts[0][:opening], [own[i] for i in chosen]), strict=True):
            found[index] = row
    return torch.stack(found).clone()


def _mean_hidden(bank: AdapterBank, opening: list[int], questions: list[list[int]]) -> Tensor:
    """Mean hidden state [R, D] over each question's tokens, all after the same opening."""
    device, width = bank.base.device, max(map(len, questions))
    ids = torch.zeros(len(questions), width, dtype=torch.long)
    counted = torch.zeros(len(questions), width, 1)
    for row, tokens in enumerate(questions):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        counted[row, : len(tokens)] = 1
    cache = None
    with bank.rows([None] * len(questions)):
        if opening:
            out = bank.base.backbone(input_ids=torch.tensor([opening], device=device), use_cache=True)
            cache = out.past_key_values
            cache.batch_select_indices(torch.zeros(len(questions), dtype=torch.long, device=device))
        mask = torch.ones(len(questions), len(opening) + width, dtype=torch.long, device=device)
        hidden = _hidden(bank, ids.to(device), mask, cache)
    return (hidden.float().cpu() * counted).sum(1) / counted.sum(1)


def _hidden(bank: AdapterBank, ids: Tensor, mask: Tensor, cache: object) -> Tensor:
    """Hidden states after the layer that gates read; no layer above it is run."""

    def stop(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        raise _Reached(output if isinstance(output, Tensor) else output[0])

    blocks = next(m for m in bank.base.backbone.modules() if isinstance(m, nn.ModuleList))
    layer = max(1, round(len(blocks) * _DEPTH))
    handle = blocks[layer - 1].register_forward_hook(stop)
    try:
        bank.base.backbone(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=cache is not None)
    except _Reached as reached:
        return reached.hidden_RTD
    finally:
        handle.remove()
    raise AssertionError("the hook did not stop the pass")
