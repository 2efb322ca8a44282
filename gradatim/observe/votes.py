"""People against each other: of the answers to one question, the one that most different people gave stands.

Counted are people, not records: who says a thing twice says it once. A tie stands for nobody, also when it is one
person who changed their mind. Answers whose values do not differ are taken to agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradatim.observe.claims import Claim, differences
from gradatim.observe.topics import Likeness, Topics


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer, and the words of the names that the question was about."""

    by: str
    subject: frozenset[str]
    answer: Claim


def outvoted(votes: Sequence[Vote], likeness: Likeness) -> dict[int, str]:
    """The places of the votes that don't stand, each with the reason."""
    topics = Topics(vote.answer for vote in votes)
    reasons = {}
    for place, mine in enumerate(votes):
        rivals = [
            vote for vote in votes if _same_subject(mine, vote) and topics.alike(mine.answer, vote.answer, likeness)
        ]
        if reason := _lost(mine, rivals):
            reasons[place] = reason
    return reasons


def _same_subject(first: Vote, second: Vote) -> bool:
    return first.subject <= second.subject or second.subject <= first.subject


def _lost(mine: Vote, same_question: Iterable[Vote]) -> str | None:
    agree = {mine.by}
    disagree: dict[frozenset[object], set[str]] = defaultdict(set)
    words: dict[frozenset[object], str] = {}
    for vote in same_question:
        if found := differences(mine.answer, vote.answer):
            answer = frozenset(vote.answer.of(found[0].sort))
            disagree[answer].add(vote.by)
            words.setdefault(answer, found[0].old)
        elif mine.answer.sorts() <= vote.answer.sorts():
            agree.add(vote.by)
    strongest = max(disagree, key=lambda answer: len(disagree[answer]), default=None)
    if strongest is None or len(disagree[strongest]) < len(agree):
        return None
    return (
        f'on this question "{words[strongest]}" has {len(disagree[strongest])} of the votes, this answer {len(agree)}'
    )
