"""The sealed exam: questions about new passages that nothing outside this room sees before the verdict.

They are written with other worked examples and another seed than the study questions, kept when they point at their
passage and when the base answers them right with the passage in view; and a person's own questions about a document
go before all written ones. What leaves the room is a set of fingerprints, so that study material can be kept clear
of the exam without being shown it.

Limits: the same base writes the study questions and the exam, so both share its blind spots; the filters need the
base to read a sentence and answer from it, which very small models do about half of the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradatim.model.bank import AdapterBank
from gradatim.model.sampling import Decoding, sample
from gradatim.types import Passage, Question
from gradatim.writing import fewshot
from gradatim.writing.facts import Fact, standing
from gradatim.writing.questions import attribute, title_of, write_questions
from gradatim.writing.words import contains

_READING = """Answer the question from the text.

Title: Bluebell Bakery. Text: The Bluebell Bakery opens at 6 in the morning, except on Sundays.
Question: When can I buy the first bread of the day?
Answer: at 6 in the morning

Title: Hale Library. Text: Returned books are checked by Mr. Osei before they go back on the shelf.
Question: Who looks at the books that people bring back?
Answer: Mr. Osei

Title: Rowing Club. Text: Every member pays a yearly fee of 40 dollars.
Question: What does it cost to row for a year?
Answer: 40 dollars

"""


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
    written = write_questions(bank, passages, facts, each=3, style="exam", seed=seed, temperature=0.6, advance=advance)
    pointing, dropped = attribute(bank, passages, written)
    readable = _readable(bank, passages, pointing)
    by_passage: dict[str, list[Question]] = defaultdict(list)
    for question in readable:
        by_passage[question.passage].append(question)
    kept = [question for passage in passages for question in by_passage[passage.id][:most]]
    dropped["not answered right with the passage in view"] = len(pointing) - len(readable)
    return Exam((*by_person, *kept), len(by_person), dropped)


def answered_in_context(bank: AdapterBank, document: str, questions: Sequence[str]) -> list[str]:
    """The bare base's replies with the whole document put before each question: the control for not learning at all."""
    chat = bank.base.chat
    prompts = [chat.prompt(f"{document}\n\n{question}") for question in questions]
    return [chat.text(reply) for reply in sample(bank, prompts, None, Decoding(max_tokens=40, batch=24))]


def _readable(bank: AdapterBank, passages: Sequence[Passage], questions: Sequence[Question]) -> list[Question]:
    """The questions that the base answers right with their passage in view."""
    index_of = {passage.id: index for index, passage in enumerate(passages)}
    prompts = []
    for question in questions:
        index = index_of[question.passage]
        text = f"Title: {title_of(passages[index])}. Text: {standing(passages, index)}"
        prompts.append(f"{_READING}{text}\nQuestion: {question.text}\nAnswer:")
    replies = fewshot.complete(bank, prompts, max_tokens=14, temperature=0.0, seed=0)
    return [q for q, reply in zip(questions, replies, strict=True) if contains(reply, q.accepted)]
