"""Rollouts as rows: their state as text, and what was served and said in them since they last looked.

A rollout's state and how far it has read are written in one transaction, so that after a kill it goes on exactly where
it was. Positions are read in order: a later one is never committed earlier, because writers take turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Float, Select, case, cast, func, select, update

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
    key: str
    wave: int
    slices: str | None
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

    def replies(self, rollout: str, after: int) -> list[tuple[int, Interaction, str]]:
        """What was served in a rollout after a position, with the positions and the texts of the replies."""
        table, names = tables.interactions, Interaction.__slots__
        query = (
            select(table, tables.answers.c.answer)
            .join(tables.answers, tables.answers.c.id == table.c.id)
            .where(table.c.rollout == rollout, table.c.position > after)
            .order_by(table.c.position)
        )
        return [
            (row["position"], Interaction(**{name: row[name] for name in names}), row["answer"])
            for row in self._read(query)
        ]

    def rated(self, rollout: str, metric: str, after: int) -> list[Rated]:
        """How the replies of a rollout were rated, after a position; without what is in quarantine."""
        ratings, served = tables.ratings, tables.interactions
        query = (
            select(
                *(ratings.c.position, ratings.c.value),
                *(served.c.subject, served.c.key, served.c.wave, served.c.slices, served.c.arm, ratings.c.at),
            )
            .join(served, ratings.c.response == served.c.id)
            .where(served.c.rollout == rollout, ratings.c.metric == metric, ratings.c.position > after)
            .where(ratings.c.doubt.is_(None))
            .order_by(ratings.c.position)
        )
        return [Rated(**row) for row in self._read(query)]

    def held(self, rollout: str) -> int:
        """How many ratings of its replies wait in quarantine for a person."""
        ratings, served, decisions = tables.ratings, tables.interactions, tables.decisions
        query = (
            select(func.count())
            .select_from(ratings.join(served, ratings.c.response == served.c.id))
            .outerjoin(decisions, decisions.c.record == ratings.c.id)
            .where(served.c.rollout == rollout, ratings.c.doubt.is_not(None), decisions.c.record.is_(None))
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def newcomers(self, rollout: str, subjects: Iterable[str]) -> set[str]:
        """Those of these subjects that had no reply before the rollout's first one; before that, no reply at all."""
        served = tables.interactions.c
        wanted = sorted(set(subjects))
        known: set[str] = set()
        with self._database.reading() as connection:
            began = connection.execute(select(func.min(served.position)).where(served.rollout == rollout)).scalar_one()
            for at in range(0, len(wanted), 500):
                some = served.subject.in_(wanted[at : at + 500])
                earlier = some if began is None else some & (served.position < began)
                query = select(served.subject).distinct().where(earlier)
                known |= set(connection.execute(query).scalars())
        return set(wanted) - known

    def subjects(self) -> dict[str, int]:
        """How many subjects each key has asked for."""
        served = tables.interactions.c
        query = select(served.key, func.count(served.subject.distinct()).label("subjects")).group_by(served.key)
        return {row["key"]: row["subjects"] for row in self._read(query)}

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
                func.avg(cast(served.c.completion_tokens, Float)).label("mean_tokens"),
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
