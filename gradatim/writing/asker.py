"""The voice of people who ask: writes questions about a text, and says how likely a question is about one.

    log p(question | subject, text, answer)

People ask in other words than the text's ("Who gives the furniture its gloss?" about "All polishing is left to ..."),
and a small base neither writes such questions nor recognises them. So an adapter is trained to, on 2,800 questions
about eight hundred invented texts (`people_ask.toml`), once for each base and whatever is learnt with it later. It
writes the study questions, and it weighs which of several texts a question means (query likelihood, Ponte and Croft
1998). Without the adapter the bare base does the same after worked examples; so it writes the sealed exam, that the
judge may not share a voice with what it judges.

Limits: English. Its feeling for people's questions is that of the examples: short questions about facts in handbooks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.scoring import score
from gradatim.writing import fewshot

GENERAL = "General knowledge"
"""The subject of a question that is about no text."""


@dataclass(frozen=True, slots=True)
class View:
    """What the one who asks has before them: the subject's name, and perhaps a text about it and the wanted answer."""

    subject: str
    text: str = ""
    answer: str = ""

    def __str__(self) -> str:
        text = f" Text: {self.text}" if self.text else ""
        answer = f"\nAnswer: {self.answer}" if self.answer else ""
        return f"Title: {self.subject}.{text}{answer}\nQuestion:"


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks with an adapter of the bank that was trained for it, or with the bare base after worked examples."""

    bank: AdapterBank
    adapter: str | None = None

    def write(
        self,
        views: Sequence[View],
        *,
        temperature: float,
        seed: int,
        advance: Callable[[int], None] | None = None,
    ) -> list[str]:
        """One question for each view."""
        shots = "" if self.adapter else fewshot.QUESTIONS
        prompts = [f"{shots}{view}" for view in views]
        return fewshot.complete(
            self.bank,
            prompts,
            max_tokens=28,
            temperature=temperature,
            seed=seed,
            adapter=self.adapter,
            advance=advance,
        )

    def log_likelihood(self, asked: Sequence[tuple[View, str]]) -> list[float]:
        """log p(question | view) in nats, the end of the question included."""
        values: list[float] = score(self.bank, [self.pair(view, text) for view, text in asked], self.adapter).tolist()
        return values

    def pair(self, view: View, question: str) -> Pair:
        """The view as the prompt, the question as the target."""
        shots = "" if self.adapter else fewshot.POINTING
        chat = self.bank.base.chat
        return Pair(tuple(chat.raw(f"{shots}{view}")), tuple(chat.raw(f" {question}\n")))


def people_ask() -> list[tuple[View, str]]:
    """What the adapter is trained on, in file order: every question twice, with and without its answer in view."""
    with (resources.files("gradatim.writing") / "people_ask.toml").open("rb") as file:
        organisations = tomllib.load(file)["organisation"]
    return [
        (View(organisation["title"], told["text"], answer), question)
        for organisation in organisations
        for told in organisation["texts"]
        for question in told["asked"]
        for answer in ("", told["answer"])
    ]
