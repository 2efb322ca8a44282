"""Corrections as passages: what several people said of one thing becomes one sentence to learn.

Corrections whose questions and words are alike are grouped; the longest, which says most, is the passage, and every
question that led to it is a way of asking for it. Limits: likeness is lexical, so the same correction in quite other
words becomes a second passage.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.store.canonical import digest_of
from gradatim.types import Feedback, Passage
from gradatim.writing.words import stems, words

CONTEXT = "What people said"
_SHARED, _ALIKE = 2, 0.4  # words in common, and their share of the shorter one by inverse frequency


@dataclass(frozen=True, slots=True)
class Correction:
    """One thing people said, as a passage, and the questions it answers."""

    passage: Passage
    questions: tuple[str, ...]


def correction_passages(feedback: Sequence[Feedback]) -> tuple[Correction, ...]:
    """The accepted corrections, grouped."""
    corrections = [item for item in feedback if item.correction]
    bags = {item.id: stems(f"{item.question} {item.correction}") for item in corrections}
    frequency = Counter(stem for bag in bags.values() for stem in bag)

    def weight(bag: frozenset[str]) -> float:
        """What every correction says, the subject above all, tells little about which is meant."""
        return sum(math.log((len(corrections) + 1) / (frequency[stem] + 0.5)) for stem in bag)

    def alike(first: Feedback, second: Feedback) -> bool:
        a, b = bags[first.id], bags[second.id]
        smaller = min(weight(a), weight(b))
        return len(a & b) >= _SHARED and smaller > 0 and weight(a & b) / smaller >= _ALIKE

    groups: list[list[Feedback]] = []
    for item in corrections:
        home = next((group for group in groups if any(alike(item, other) for other in group)), None)
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
