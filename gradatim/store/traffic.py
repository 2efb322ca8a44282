"""What was served, to whom, and how it was rated: the rows that a server writes while it answers.

An interaction is an answer (`records.py`, so that any feedback can name it) and how it was served. Ratings are only
ever added: of several by one key on one response and metric the last counts. Every write is one transaction, committed
when the method returns, and many interactions may share one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, func, select

from gradatim.store import tables
from gradatim.store.database import Database
from gradatim.types import Answer


@dataclass(frozen=True, slots=True)
class Interaction:
    """How an answer was served; `id` is the answer's. Times are in seconds from the request's arrival."""

    id: str
    key: str  # id of the key that asked
    subject: str  # digest of the user that the request named, or of the key
    session: str | None
    arm: str  # live, canary, baseline: what the release was to this request
    prompt: str  # canonical JSON of the request
    finish: str  # stop, length, cancelled, error
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float | None
    seconds: float
    rollout: str | None = None  # the rollout that chose the release, and its wave then
    wave: int | None = None
    slices: str | None = None  # JSON: those of the rollout's slices that the request belongs to


@dataclass(frozen=True, slots=True)
class Rating:
    """A value of a declared metric, given to a response or to a session."""

    id: str
    response: str | None
    session: str | None
    key: str
    subject: str
    metric: str
    value: float
    comment: str | None
    at: str
    doubt: str | None = None  # why it is in quarantine, and counts nowhere
    said: str | None = None  # digest of the comment's words, where there are enough to tell copies


class Traffic:
    """Interactions and ratings of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, served: Iterable[tuple[Answer, Interaction]]) -> None:
        """Add answers with their interactions; one that is there already stays as it is."""
        rows = [(_row(answer), _row(interaction)) for answer, interaction in served]
        if not rows:
            return
        with self._database.writing() as connection:  # two statements, however many rows
            connection.execute(self._database.insert_new(tables.answers), [answer for answer, _ in rows])
            connection.execute(self._database.insert_new(tables.interactions), [served for _, served in rows])

    def add_rating(self, rating: Rating) -> bool:
        """Add a rating; False, and nothing changed, when it is there already."""
        with self._database.writing() as connection:
            insert = self._database.insert_new(tables.ratings).values(asdict(rating))
            return connection.execute(insert).rowcount == 1

    def last_rating(
        self, *, response: str | None, session: str | None, key: str, subject: str, metric: str
    ) -> Rating | None:
        """What somebody last said of a response or a session."""
        table = tables.ratings.c
        query = select(tables.ratings).where(
            table.response.is_(None) if response is None else table.response == response,
            table.session.is_(None) if session is None else table.session == session,
            table.key == key,
            table.subject == subject,
            table.metric == metric,
        )
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(table.position.desc()).limit(1)).mappings().first()
        return None if row is None else Rating(**{name: row[name] for name in Rating.__slots__})

    def words_on(self, *, response: str | None, session: str | None, key: str) -> int:
        """How many ratings and corrections there are on a response, or ratings of a key on a session."""
        ratings, feedback = tables.ratings.c, tables.feedback.c
        target = ratings.session == session if response is None else ratings.response == response
        count = select(func.count()).select_from(tables.ratings).where(target, ratings.key == key)
        corrections = select(func.count()).select_from(tables.feedback).where(feedback.answer == response)
        with self._database.reading() as connection:
            found = int(connection.execute(count).scalar_one())
            return found + (int(connection.execute(corrections).scalar_one()) if response else 0)

    def ratings_of(self, key: str, since: str) -> int:
        """How many ratings came under a key since a moment."""
        table = tables.ratings.c
        return self._count(select(func.count()).select_from(tables.ratings).where(table.key == key, table.at > since))

    def sayers(self, said: str, key: str, since: str) -> int:
        """How many users of a key commented with these words since a moment."""
        table = tables.ratings.c
        people = func.count(table.subject.distinct())
        return self._count(select(people).where(table.said == said, table.key == key, table.at > since))

    def corrections_of(self, source: str, by: str, since: str) -> int:
        """How many corrections came from a source since a moment, of one person or, ending in "/", of a client key."""
        table = tables.feedback.c
        whose = (
            func.substr(table.by, 1, len(by)) if by.endswith("/") else table.by
        )  # what sorts first is the database's
        query = select(func.count()).select_from(tables.feedback)
        return self._count(query.where(whose == by, table.source == source, table.added_at > since))

    def interaction(self, response: str) -> Interaction | None:
        query = select(tables.interactions).where(tables.interactions.c.id == response)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Interaction(**{name: row[name] for name in Interaction.__slots__})

    def interactions(self) -> list[Interaction]:
        """All of them in order of arrival."""
        query = select(tables.interactions).order_by(tables.interactions.c.position)
        with self._database.reading() as connection:
            rows = list(connection.execute(query).mappings())
        return [Interaction(**{name: row[name] for name in Interaction.__slots__}) for row in rows]

    def ratings(self, last: int | None = None) -> list[Rating]:
        """All of them, or the last ones, in order of arrival."""
        query = select(tables.ratings).order_by(tables.ratings.c.position.desc()).limit(last)
        with self._database.reading() as connection:
            rows = list(connection.execute(query).mappings())[::-1]
        return [Rating(**{name: row[name] for name in Rating.__slots__}) for row in rows]

    def count(self) -> int:
        """How many interactions there are."""
        return self._count(select(func.count()).select_from(tables.interactions))

    def _count(self, query: Select[Any]) -> int:
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _row(record: Answer | Interaction) -> dict[str, Any]:
    """What `asdict` gives, without copying every text on the way."""
    return {name: getattr(record, name) for name in type(record).__slots__}
