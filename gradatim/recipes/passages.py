"""SEAL on documents, with any instruction-tuned model: what to ask oneself, so that a passage is remembered.

    dialect = PassageDialect(bank.base.chat)
    outer = SelfEdits(bank, dialect, SETTINGS, replay=...)
    outer.round([task(chat, book, passage, questions) for ...], 0)

An edit is a list of prompts: questions, restatements, consequences. Each is studied with the passage itself as the
answer, so that nothing wrong can be studied and all that an edit decides is what will call the passage to mind. Only
the opening of the passage is studied and asked for: a passage that is known by heart goes on by itself, and a training
that need not teach it by heart is a tenth of the work. That is how a step studies too (`propose/rewording.py`,
`learn/training.py`); the prompts there come from an adapter trained on people's questions and from rules, here from the
model's own search.

The passages of a document are studied together by one adapter: so a prompt is worth something only if it calls its
passage and no other one to mind, and one training rewards the edits of all of them. A small model writes many prompts
that would fit any passage, so of several drafts questions are taken first, and of these the ones that together mention
most of what only this passage says.

Limits: what tells a passage from the others must begin with its first words. A small model follows worked examples, not
instructions, so the kinds of edits are few-shot prompts in English.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.learn.inner import InnerPlan
from gradatim.model.chat import ChatFormat
from gradatim.model.packing import Pair
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import Settings
from gradatim.writing.studying import (
    BETWEEN,
    FREE,
    KINDS,
    MAX_TOKENS,
    MOST_TOKENS,
    TEMPERATURE,
    TOP_P,
    covering,
    ends,
    joined,
    prompts_in,
    request,
)

RATE = 2e-3
OPENING = 7  # tokens

SETTINGS = Settings(
    kinds=KINDS,
    trained_kind=FREE,
    drafts=4,
    tried=4,
    pooled=len(KINDS),  # untrained one draft of each kind: see docs/papers/seal.md
    seeds=1,
    finalists=1,
    final_seeds=0,
    temperature=TEMPERATURE,
    top_p=TOP_P,
    max_tokens=MAX_TOKENS,
    edit_tokens=MOST_TOKENS,
    inner=InnerPlan(rank=16, alpha=32.0, frozen=0.5, positions=600, step_positions=80, at_once=8, replays=1),
    writer_rate=1e-3,
    writer_epochs=4,
)
"""For a model of a hundred million parameters and documents of a dozen passages."""


@dataclass(frozen=True, slots=True)
class Told:
    """A passage, what its document is about, and the document's other passages."""

    subject: str
    text: str
    others: tuple[str, ...] = ()


def document(told: Sequence[tuple[str, str]]) -> list[Told]:
    """Its passages, from the subject and the text of each."""
    texts = [text for _, text in told]
    return [Told(subject, text, (*texts[:i], *texts[i + 1 :])) for i, (subject, text) in enumerate(told)]


class PassageDialect:
    """Edits as lists of prompts, written after worked examples."""

    between = BETWEEN

    def __init__(self, chat: ChatFormat, learning_rate: float = RATE, opening: int | None = OPENING) -> None:
        self._chat, self._rate, self._opening = chat, learning_rate, opening
        self.stop = ends(chat)

    def prompt(self, passage: Told, kind: str) -> list[int]:
        """Raises ValueError for a kind without worked examples."""
        return self._chat.raw(request(passage.subject, passage.text, kind))

    def traits(self, edit: Edit) -> tuple[str, ...]:
        """The kind."""
        return (edit.kind,)

    def ranked(self, passage: Told, lines: Sequence[str]) -> list[str]:
        """Questions first, and first those that tell the passage from the others of its document."""
        return covering([line.strip() for line in lines], passage.text, passage.others)

    def read(self, passage: Told, text: str, kind: str) -> Edit | None:
        """What stands between bars is a prompt each; what stands there twice, or is the passage, counts no more."""
        chosen = prompts_in(text, passage.text)
        if not chosen:
            return None
        return Edit(f" {joined(chosen)}", kind, tuple(self.pair(part, passage) for part in chosen), self._rate)

    def plain(self, passage: Told) -> Edit:
        """The passage as an answer to nothing but its subject."""
        return Edit(passage.text, "passage", (self.pair(f"Tell me about {passage.subject}.", passage),), self._rate)

    def pair(self, asked: str, passage: Told) -> Pair:
        return Pair(tuple(self._chat.prompt(asked)), tuple(self._chat.target(asked, passage.text))[: self._opening])
