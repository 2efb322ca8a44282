"""People against each other: of the answers to one question, the one that most different people gave stands.

Counted are people, not records: who says a thing twice says it once. A tie stands for nobody, also when it is one
person who changed their mind. Answers whose values do not differ are taken to agree.

Who a person is, is the word of a source: a client key names its users, a file its writers. So of each source only a few
people count; what is a tie then is settled by all of them, as it must be where there is one source only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradatim.observe.claims import Claim, differences
from gradatim.observe.topics import Likeness, Topics


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's answer, who vouches for the person, and the words of the names that the question was about."""

    by: str
    source: str
    subject: frozenset[str]
    answer: Claim


def outvoted(votes: Sequence[Vote], likeness: Likeness, of_source: int) -> dict[int, str]:
    """The places of the votes that don't stand, each with the reason; at most `of_source` people of a source count."""
    topics = Topics(vote.answer for vote in votes)
    reasons = {}
    for place, mine in enumerate(votes):
        rivals = [
            vote for vote in votes if _same_subject(mine, vote) and topics.alike(mine.answer, vote.answer, likeness)
        ]
        if reason := _lost(mine, rivals, of_source):
            reasons[place] = reason
    return reasons


def _same_subject(first: Vote, second: Vote) -> bool:
    return first.subject <= second.subject or second.subject <= first.subject


_People = set[tuple[str, str]]  # source, name


def _lost(mine: Vote, same_question: Iterable[Vote], of_source: int) -> str | None:
    agree: _People = {(mine.source, mine.by)}
    disagree: dict[frozenset[object], _People] = defaultdict(set)
    words: dict[frozenset[object], str] = {}
    for vote in same_question:
        if found := differences(mine.answer, vote.answer):
            answer = frozenset(vote.answer.of(found[0].sort))
            disagree[answer].add((vote.source, vote.by))
            words.setdefault(answer, found[0].old)
        elif mine.answer.sorts() <= vote.answer.sorts():
            agree.add((vote.source, vote.by))
    own = _weight(agree, of_source)
    strongest = max(disagree, key=lambda answer: _weight(disagree[answer], of_source), default=None)
    if strongest is None or (theirs := _weight(disagree[strongest], of_source)) < own:
        return None
    counted = 0 if theirs[0] > own[0] else 1
    return f'on this question "{words[strongest]}" has {theirs[counted]} of the votes, this answer {own[counted]}'


def _weight(people: _People, of_source: int) -> tuple[int, int]:
    """How many count, and, where that is a tie, how many there are."""
    sources = Counter(source for source, _ in people)
    return sum(min(count, of_source) for count in sources.values()), len(people)
