"""What a watch reads of the traffic: a row for each reply, with how it was rated and whether it was corrected.

Questions and answers stay where they are: of their text only whether the answer refuses is looked at.
Where there are more than `MOST` replies, those of a part of the subjects are read: subjects are digests, so the first
of them in order are as good as drawn by lot, and each is there with all it asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from gradatim.store import tables
from gradatim.store.database import Database

MOST = 200_000


@dataclass(frozen=True, slots=True)
class Served:
    """One reply as it was served, and what was said of it."""

    subject: str
    release: str
    at: str  # ISO 8601, UTC
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finish: str
    refused: bool
    rating: float | None  # the last one of the metric that was asked for
    corrected: bool


class Watched:
    """The traffic of a database, to be looked over."""

    def __init__(self, database: Database, most: int = MOST) -> None:
        self._database, self._most = database, most

    def served(self, since: str, until: str, metric: str, refuses: Callable[[str], bool]) -> list[Served]:
        """The replies from one moment to before another, in order; those that nobody waited for are left out."""
        replies, answers = tables.interactions, tables.answers
        period = (answers.c.at >= since, answers.c.at < until, replies.c.finish != "cancelled")
        both = replies.join(answers, answers.c.id == replies.c.id)
        count = select(func.count()).select_from(both).where(*period)
        query = (
            select(replies, answers.c.release, answers.c.at, answers.c.answer)
            .select_from(both)
            .where(*period)
            .order_by(replies.c.position)
        )
        rated = select(tables.ratings.c.response, tables.ratings.c.value).where(
            tables.ratings.c.metric == metric,
            tables.ratings.c.response.is_not(None),
            tables.ratings.c.at >= since,
            tables.ratings.c.doubt.is_(None),
        )
        corrected = select(tables.feedback.c.answer).where(
            tables.feedback.c.correction.is_not(None), tables.feedback.c.status != "quarantined"
        )
        with self._database.reading() as connection:
            found = int(connection.execute(count).scalar_one())
            if found > self._most:
                query = query.where(replies.c.subject < f"{int(self._most / found * 16**8):08x}")
            ratings = {row[0]: row[1] for row in connection.execute(rated.order_by(tables.ratings.c.position))}
            corrections = {row[0] for row in connection.execute(corrected)}
            return [
                _served(row, ratings, corrections, refuses(row["answer"]))
                for row in connection.execute(query).mappings()
            ]


def _served(row: Any, ratings: Mapping[str, float], corrections: set[str], refused: bool) -> Served:
    return Served(
        subject=row["subject"],
        release=row["release"],
        at=row["at"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        seconds=row["seconds"],
        finish=row["finish"],
        refused=refused,
        rating=ratings.get(row["id"]),
        corrected=row["id"] in corrections,
    )
