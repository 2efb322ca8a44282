"""Rollouts as rows: their state as text, and what was served and said in them since they last looked.

A rollout's state and how far it has read are written in one transaction, so that after a kill it goes on exactly where
it was. Limit: positions are read in order, which holds where writers take turns, as SQLite's do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, case, func, select, update

from gradatim.store import tables
from gradatim.store.database import Database
from gradatim.store.traffic import Interaction


@dataclass(frozen=True, slots=True)
class SavedRollout:
    """A rollout as its row holds it."""

    id: str
    live: str
    candidate: str
    secret: str  # hexadecimal
    state: str
    events: str  # JSON
    open: bool
    replies: int  # positions up to which it has observed
    ratings: int
    started_at: str


@dataclass(frozen=True, slots=True)
class Rated:
    """A rating of a reply that was part of a rollout."""

    position: int
    subject: str
    wave: int
    value: float
    arm: str
    at: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a rollout knew at one moment."""

    at: float  # seconds since 1970
    stage: str
    share: float
    evidence: str  # JSON


@dataclass(frozen=True, slots=True)
class ArmCount:
    """What one arm has answered."""

    arm: str
    release: str
    replies: int
    subjects: int
    errors: int
    mean_seconds: float
    mean_tokens: float


class RolloutTable:
    """The rollouts of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, saved: SavedRollout) -> bool:
        """Add one; False, and nothing changed, while another is open."""
        opened = select(tables.rollouts.c.id).where(tables.rollouts.c.open)
        with self._database.writing() as connection:
            if connection.execute(opened).first() is not None:
                return False
            connection.execute(tables.rollouts.insert().values(asdict(saved)))
        return True

    def save(self, saved: SavedRollout) -> None:
        change = update(tables.rollouts).where(tables.rollouts.c.id == saved.id)
        with self._database.writing() as connection:
            connection.execute(change.values(asdict(saved)))

    def all(self) -> list[SavedRollout]:
        """In the order in which they were started."""
        return [_saved(row) for row in self._read(select(tables.rollouts).order_by(tables.rollouts.c.position))]

    def get(self, rollout: str) -> SavedRollout | None:
        rows = self._read(select(tables.rollouts).where(tables.rollouts.c.id == rollout))
        return next((_saved(row) for row in rows), None)

    def replies(self, rollout: str, after: int) -> list[tuple[int, Interaction]]:
        """What was served in a rollout after a position, with the positions."""
        table = tables.interactions
        query = select(table).where(table.c.rollout == rollout, table.c.position > after).order_by(table.c.position)
        names = Interaction.__slots__
        return [(row["position"], Interaction(**{name: row[name] for name in names})) for row in self._read(query)]

    def rated(self, rollout: str, metric: str, after: int) -> list[Rated]:
        """How the replies of a rollout were rated, after a position."""
        ratings, served = tables.ratings, tables.interactions
        query = (
            select(ratings.c.position, served.c.subject, served.c.wave, ratings.c.value, served.c.arm, ratings.c.at)
            .join(served, ratings.c.response == served.c.id)
            .where(served.c.rollout == rollout, ratings.c.metric == metric, ratings.c.position > after)
            .order_by(ratings.c.position)
        )
        return [Rated(**row) for row in self._read(query)]

    def arms(self, rollout: str) -> list[ArmCount]:
        """What each arm of a rollout has answered."""
        served, answers = tables.interactions, tables.answers
        query = (
            select(
                served.c.arm,
                answers.c.release,
                func.count().label("replies"),
                func.count(served.c.subject.distinct()).label("subjects"),
                func.sum(case((served.c.finish == "error", 1), else_=0)).label("errors"),
                func.avg(served.c.seconds).label("mean_seconds"),
                func.avg(served.c.completion_tokens).label("mean_tokens"),
            )
            .join(answers, answers.c.id == served.c.id)
            .where(served.c.rollout == rollout)
            .group_by(served.c.arm, answers.c.release)
            .order_by(served.c.arm)
        )
        return [ArmCount(**row) for row in self._read(query)]

    def add_look(self, rollout: str, look: Look) -> None:
        with self._database.writing() as connection:
            connection.execute(tables.rollout_looks.insert().values({"rollout": rollout} | asdict(look)))

    def looks(self, rollout: str) -> list[Look]:
        """The looks of a rollout that were kept, oldest first."""
        table = tables.rollout_looks
        query = select(table).where(table.c.rollout == rollout).order_by(table.c.position)
        return [Look(**{name: row[name] for name in Look.__slots__}) for row in self._read(query)]

    def _read(self, query: Select[Any]) -> Iterable[Any]:
        with self._database.reading() as connection:
            return list(connection.execute(query).mappings())


def _saved(row: Any) -> SavedRollout:
    return SavedRollout(**{name: row[name] for name in SavedRollout.__slots__})
