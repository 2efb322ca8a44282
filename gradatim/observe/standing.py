"""Passages that can stand alone: a sentence that opens with a pronoun joins the one before it.

"It has to be stored at four degrees" is no answer to anybody, and a model that is to tell such sentences apart by their
first words learns slowly (29 % of the questions on a handbook written like that). Screening works on single sentences;
studying and answering work on these.

Limits: at most 45 words to a passage, so the end of a long chain still leans; what a pronoun stands
for is not resolved, only brought into view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gradatim.types import Passage
from gradatim.writing.words import leans, words

MOST_WORDS = 45


def standing_passages(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The passages in order, leaning ones joined to their predecessor, whose id they take."""
    made: list[Passage] = []
    for passage in passages:
        before = made[-1] if made else None
        joins = (
            before is not None
            and leans(passage.text)
            and (before.document, before.context) == (passage.document, passage.context)
            and len(words(before.text)) + len(words(passage.text)) <= MOST_WORDS
        )
        if before is not None and joins:
            made[-1] = replace(before, text=f"{before.text} {passage.text}")
        else:
            made.append(passage)
    return tuple(made)
