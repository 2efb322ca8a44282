"""The sealed exam: questions about new passages that nothing outside this room sees before the verdict.

They are written by the bare base, where study questions are written by an adapter that learnt to ask, and with another
seed; they are kept when they point at their passage, and a person's own questions about a document go before them all.
What leaves the room is a set of fingerprints, so that study material can be kept clear of the exam without being shown
it.

Limits: the same base writes the study questions and the exam, so both share its blind spots. A small model's questions
often ask beside the fact they were written for, so a right reply means that the right passage was recalled and the
fact stands in it. Filtering by whether the base answers right with the passage in view was tried: SmolLM2-135M left
six questions of ninety, too few for any verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample
from gradatim.types import Passage, Question
from gradatim.writing.asker import Asker
from gradatim.writing.facts import Fact
from gradatim.writing.questions import attribute, write_questions


@dataclass(frozen=True, slots=True)
class Exam:
    """Sealed questions."""

    questions: tuple[Question, ...]
    by_person: int  # how many of them a person wrote
    dropped: dict[str, int]


def write_exam(
    bank: AdapterBank,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    by_person: Sequence[Question],
    seed: int,
    most: int = 3,
    advance: Callable[[int], None] | None = None,
) -> Exam:
    """An exam over `passages`, at most `most` written questions for each."""
    asker = Asker(bank)
    written = write_questions(asker, passages, facts, each=3, seed=seed, temperature=0.6, advance=advance)
    pointing, dropped = attribute(asker, passages, facts, written)
    by_passage: dict[str, list[Question]] = defaultdict(list)
    for question in pointing:
        by_passage[question.passage].append(question)
    kept = [question for passage in passages for question in by_passage[passage.id][:most]]
    dropped["enough of its passage"] = len(pointing) - len(kept)
    return Exam((*by_person, *kept), len(by_person), dropped)


def answered_in_context(bank: AdapterBank, document: str, questions: Sequence[str]) -> list[str]:
    """The bare base's replies with the whole document put before each question: the control for not learning at all."""
    chat = bank.base.chat
    prompts = [chat.prompt(f"{document}\n\n{question}") for question in questions]
    return [chat.text(reply) for reply in sample(bank, prompts, None, Decoding(max_tokens=40, batch=24))]
