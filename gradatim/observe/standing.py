"""Passages that can stand alone: a sentence that opens with a pronoun joins the one before it.

"It has to be stored at four degrees" is no answer to anybody, and a model that is to tell such sentences apart by their
first words learns slowly (29 % of the questions on a handbook written like that). Screening works on single sentences;
studying and answering work on these.

A chain of such sentences may be longer than a passage should be. It is cut where that costs least: rather before
"they", which mostly means the people the whole text is about, than before "it", "he" or "this", which mean what was
just said.

Limits: at most 45 words to a passage, so one that is cut off still leans; what a pronoun stands for is not resolved,
only brought into view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gradatim.types import Passage
from gradatim.writing.words import leans, words

MOST_WORDS = 45
_NEAR = re.compile(r"(?:It|Its|He|She|His|Her|This|That|These|Such)\b")
_NEAR_COST, _FAR_COST = 3, 1


def standing_passages(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The passages in order, leaning ones joined to their predecessors, whose first one's id they take."""
    return tuple(
        replace(members[0], text=" ".join(member.text for member in members))
        for chain in _chains(passages)
        for members in _cut(chain)
    )


def _chains(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    """Each passage with all that lean on it, one on the other."""
    chain: list[Passage] = []
    for passage in passages:
        place = (passage.document, passage.context)
        if chain and not (leans(passage.text) and place == (chain[-1].document, chain[-1].context)):
            yield chain
            chain = []
        chain.append(passage)
    if chain:
        yield chain


def _cut(chain: Sequence[Passage]) -> list[Sequence[Passage]]:
    """The chain in pieces of at most `MOST_WORDS` words, or of one sentence, cut where it costs least."""
    sizes = [len(words(passage.text)) for passage in chain]
    best: list[tuple[int, int]] = [(0, 0)]  # for each end: the cost of all cuts so far, and where the last piece began
    for stop in range(1, len(chain) + 1):
        starts = [start for start in range(stop) if stop - start == 1 or sum(sizes[start:stop]) <= MOST_WORDS]
        costs = [(best[start][0] + _cost(chain[start]) * (start > 0), start) for start in starts]
        best.append(min(costs))
    pieces: list[Sequence[Passage]] = []
    stop = len(chain)
    while stop:
        start = best[stop][1]
        pieces.insert(0, chain[start:stop])
        stop = start
    return pieces


def _cost(passage: Passage) -> int:
    """Of a cut before this passage."""
    return _NEAR_COST if _NEAR.match(passage.text) else _FAR_COST
