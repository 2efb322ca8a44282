"""Corrections as passages: what several people said of one thing becomes one sentence to learn.

Corrections whose questions and words are alike are grouped; the longest, which says most, is the passage, and every
question that led to it is a way of asking for it. Limits: likeness is lexical, so the same correction in quite other
words becomes a second passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.store.canonical import digest_of
from gradatim.types import Feedback, Passage
from gradatim.writing.words import stems, words

CONTEXT = "What people said"
_ALIKE = 0.4


@dataclass(frozen=True, slots=True)
class Correction:
    """One thing people said, as a passage, and the questions it answers."""

    passage: Passage
    questions: tuple[str, ...]


def correction_passages(feedback: Sequence[Feedback]) -> tuple[Correction, ...]:
    """The accepted corrections, grouped."""
    groups: list[list[Feedback]] = []
    for item in feedback:
        if not item.correction:
            continue
        home = next((group for group in groups if any(_alike(item, other) for other in group)), None)
        if home is None:
            groups.append([item])
        else:
            home.append(item)
    return tuple(_merged(group) for group in groups)


def _merged(group: Sequence[Feedback]) -> Correction:
    text = _sentence(max(group, key=lambda item: len(item.correction or "")))
    document = digest_of(text.encode())
    questions = tuple(dict.fromkeys(item.question for item in group))
    return Correction(Passage(f"{document[:12]}:0", document, text, CONTEXT), questions)


def _sentence(item: Feedback) -> str:
    """The correction; a bare answer is given its question to stand on."""
    text = (item.correction or "").strip()
    if len(words(text)) >= 4:
        return text if text[-1] in ".!?" else text + "."
    return f"{item.question.rstrip('? ')}: {text}."


def _alike(first: Feedback, second: Feedback) -> bool:
    a, b = (stems(f"{item.question} {item.correction}") for item in (first, second))
    return bool(a and b) and len(a & b) / min(len(a), len(b)) >= _ALIKE
