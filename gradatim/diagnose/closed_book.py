"""Ask the live model, closed book, what it was able to ask with the passage open.

A few questions of each passage are put to the model as it is served. A passage is known when at least two in three
replies contain an accepted answer; every other one is a weakness, with a failed question and the reply as evidence.

Limits: a reply counts as right when it contains the fact, so a lucky mention passes; questions that a small model
wrote poorly make a known passage look weak, which costs study time, not truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from gradatim.types import Diagnosis, Passage, Question, Weakness
from gradatim.writing.words import contains

_KNOWN = 2 / 3


def diagnose(
    passages: Sequence[Passage],
    questions: Sequence[Question],
    ask: Callable[[list[str]], list[str]],
    each: int = 3,
) -> Diagnosis:
    """Weak and known passages, from at most `each` questions a passage put to `ask`, the live model."""
    by_passage: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        if len(by_passage[question.passage]) < each:
            by_passage[question.passage].append(question)
    asked = [question for passage in passages for question in by_passage[passage.id]]
    replies = dict(zip((question.id for question in asked), ask([question.text for question in asked]), strict=True))
    weaknesses, known = [], []
    right_in_all = 0
    for passage in passages:
        mine = by_passage[passage.id]
        failed = [question for question in mine if not contains(replies[question.id], question.accepted)]
        right_in_all += len(mine) - len(failed)
        if mine and len(mine) - len(failed) >= _KNOWN * len(mine):
            known.append(passage.id)
        else:
            example, reply = (failed[0].text, replies[failed[0].id]) if failed else ("", "")
            weaknesses.append(Weakness(passage.id, len(mine), len(mine) - len(failed), example, reply))
    return Diagnosis(tuple(weaknesses), tuple(known), tuple(questions), len(asked), right_in_all)
