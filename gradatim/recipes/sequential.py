"""Lesson after lesson: what is left of the first ones, by how they are kept.

    for lesson in lessons:
        learn(bank, plan, [(strategy, lesson)], replay)
        strategy.adapters(questions)   # which adapter answers each question; None is the base

SEAL (arXiv 2506.10943, section 4) merges every edit into the weights and falls below the base after the fifth. The
strategies here take the same lessons in the same order, at the same number of positions each (rehearsal comes on top):

- `Merged`: an adapter for each lesson, folded into the base's weights, as SEAL does
- `Shared`: one adapter that is trained on and on; with `rehearse`, each step also shows pairs of earlier ones
- `Routed`: an adapter and a gate for each lesson, the one that claims a question most answers it; what none claims is
  answered by the base. With the hidden state as features this is what a step does (`recall/minds.py`), less the
  check of what is told; with `tokens_of`, a gate goes by the words of a question, which a model of a million parameters
  needs to tell one name from another

A lesson brings the pairs to study, so self-distillation is a matter of which pairs: those that the base answers with
the passage in view instead of those that it wrote (`distilled`).

Several strategies can be taught in the same passes, a lesson each.

Limits: not so `Merged`, which changes the base under all others until `close` puts its weights back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from gradatim.learn.inner import InnerPlan, Trial, new_adapter, study
from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.routing import Gate, Router, features
from gradatim.model.sampling import Decoding, sample


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is studied of one passage, how fast, from which seed, and texts by which its questions can be known.

    Raises ValueError where there is nothing to study or no such text.
    """

    pairs: tuple[Pair, ...]
    learning_rate: float
    seed: int
    cues: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.pairs or not self.cues:
            raise ValueError("a lesson needs something to study and something to know its questions by")

    def trial(self, rehearse: Sequence[Pair] = ()) -> Trial:
        return Trial(self.pairs, self.learning_rate, self.seed, rehearse=tuple(rehearse))


class Strategy(Protocol):
    """A way of keeping one lesson after another."""

    def begin(self, lesson: Lesson) -> tuple[str, Trial]:
        """The adapter in the bank that is to study, and what."""
        ...

    def end(self, lesson: Lesson) -> None:
        """Called when it has."""
        ...

    def adapters(self, questions: Sequence[str]) -> list[str | None]:
        """Who answers each question, by name in the bank."""
        ...

    def close(self) -> None:
        """Leave bank and base as they were."""
        ...


def learn(
    bank: AdapterBank, plan: InnerPlan, taught: Sequence[tuple[Strategy, Lesson]], replay: Sequence[Pair] = ()
) -> None:
    """Teach each strategy its lesson, on top of all it had before, all in the same passes.

    Raises ValueError when one that merges is taught beside others.
    """
    if len(taught) > 1 and any(isinstance(strategy, Merged) for strategy, _ in taught):
        raise ValueError("merging changes the base under all others: teach it alone")
    begun = [strategy.begin(lesson) for strategy, lesson in taught]
    study(bank, [name for name, _ in begun], [trial for _, trial in begun], plan, replay)
    for strategy, lesson in taught:
        strategy.end(lesson)


@dataclass
class Shared:
    """One adapter for all lessons. With `rehearse`, each step also shows some of what earlier lessons studied."""

    bank: AdapterBank
    plan: InnerPlan
    rehearse: bool = False
    name: str = "shared"
    _earlier: list[Pair] = field(default_factory=list)

    def begin(self, lesson: Lesson) -> tuple[str, Trial]:
        if self.name not in self.bank.adapters:
            self.bank.add(self.name, new_adapter(self.bank, self.plan, lesson.seed))
        return self.name, lesson.trial(self._earlier)

    def end(self, lesson: Lesson) -> None:
        if self.rehearse:
            self._earlier += lesson.pairs

    def adapters(self, questions: Sequence[str]) -> list[str | None]:
        name = self.name if self.name in self.bank.adapters else None
        return [name] * len(questions)

    def close(self) -> None:
        if self.name in self.bank.adapters:
            self.bank.remove(self.name)


class Merged:
    """Every lesson's adapter is folded into the base."""

    def __init__(self, bank: AdapterBank, plan: InnerPlan) -> None:
        self.bank, self.plan = bank, plan
        self._before: dict[str, Tensor] = {}

    def begin(self, lesson: Lesson) -> tuple[str, Trial]:
        self.bank.add("to be merged", new_adapter(self.bank, self.plan, lesson.seed))
        return "to be merged", lesson.trial()

    @torch.no_grad()
    def end(self, lesson: Lesson) -> None:
        adapter = self.bank.adapters["to be merged"]
        for module in adapter.modules:
            weight = _weight(self.bank, module)
            self._before.setdefault(module, weight.detach().clone())
            product = adapter.scale * (adapter.B[module] @ adapter.A[module])
            weight += (product.T if adapter.modules[module].transposed else product).to(weight.dtype)
        self.bank.remove("to be merged")

    def adapters(self, questions: Sequence[str]) -> list[str | None]:
        return [None] * len(questions)

    @torch.no_grad()
    def close(self) -> None:
        for module, weight in self._before.items():
            _weight(self.bank, module).copy_(weight)
        self._before.clear()
        if "to be merged" in self.bank.adapters:
            self.bank.remove("to be merged")


class Routed:
    """An adapter for each lesson, and a gate that was fitted against `others` and the cues of earlier lessons.

    `read` makes features of questions; `least` is the log-odds from which a gate's claim counts.
    """

    def __init__(
        self,
        bank: AdapterBank,
        plan: InnerPlan,
        others: Sequence[str],
        name: str = "lesson",
        read: Callable[[AdapterBank, Sequence[str]], Tensor] = features,
        least: float = 0.0,
    ) -> None:
        self.bank, self.plan, self.name, self.read, self.least = bank, plan, name, read, least
        self._against = read(bank, others)
        self._gates: dict[str, Gate | None] = {}

    def begin(self, lesson: Lesson) -> tuple[str, Trial]:
        name = f"{self.name} {len(self._gates)}"
        self.bank.add(name, new_adapter(self.bank, self.plan, lesson.seed))
        return name, lesson.trial()

    def end(self, lesson: Lesson) -> None:
        mine = self.read(self.bank, lesson.cues)
        self._gates[f"{self.name} {len(self._gates)}"] = Gate.fit(mine, self._against)
        self._against = torch.cat([self._against, mine])

    def adapters(self, questions: Sequence[str]) -> list[str | None]:
        if not self._gates:
            return [None] * len(questions)
        claims = Router(self.bank, self._gates).claims_of(self.read(self.bank, questions), self.least)
        return [max(own, key=lambda claim: claim.logit).adapter if own else None for own in claims]

    def close(self) -> None:
        for name in (*self._gates, f"{self.name} {len(self._gates)}"):  # the last one is there if a lesson broke off
            if name in self.bank.adapters:
                self.bank.remove(name)
        self._gates.clear()


def tokens_of(bank: AdapterBank, questions: Sequence[str]) -> Tensor:
    """Features [Q, V]: 1 for each token of the vocabulary that a question holds. For small vocabularies."""
    chat = bank.base.chat
    found = torch.zeros(len(questions), bank.base.model.get_input_embeddings().weight.shape[0])
    for row, question in zip(found, questions, strict=True):
        row[torch.tensor(chat.raw(question), dtype=torch.long)] = 1
    return found


def distilled(bank: AdapterBank, asked: Sequence[tuple[str, Sequence[int]]], max_tokens: int = 24) -> list[Pair]:
    """Pairs of a question and what the base says to it with the passage in view.

    `asked` holds each question, and the token ids of the passage with that question behind it.
    """
    chat = bank.base.chat
    replies = sample(bank, [prompt for _, prompt in asked], None, Decoding(max_tokens=max_tokens))
    return [
        Pair(tuple(chat.prompt(question)), tuple(chat.target(question, chat.text(reply))))
        for (question, _), reply in zip(asked, replies, strict=True)
        if reply
    ]


def _weight(bank: AdapterBank, module: str) -> Tensor:
    found: nn.Module = bank.base.model.get_submodule(f"{module}.frozen")
    weight: Tensor = found.weight  # type: ignore[assignment]
    return weight
