"""The tables of what happened in use, as SQLAlchemy Core knows them; `migrations/` is what makes them.

A test holds that the two agree. `position` gives every table the order of arrival: it counts up in the order in which
transactions commit, because writers take turns (`database.py`).
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from gradatim.store.columns import Long, String, Text

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def _position() -> Column[int]:
    return Column("position", Long, primary_key=True, autoincrement=True)


def _received() -> list[Column[str]]:
    """Provenance, spread over columns."""
    return [Column(name, String, nullable=False) for name in ("source", "digest", "added_at")]


def _judged() -> list[Column[str] | Column[str | None] | CheckConstraint]:
    """What became of a record, and why."""
    return [
        Column("status", String, nullable=False, index=True),
        Column("reason", Text),
        CheckConstraint("status IN ('new', 'studied', 'quarantined')", name="status"),
    ]


documents = Table(
    "documents",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("blob", String, nullable=False),  # digest of the text, which is not kept here
    *_received(),
    *_judged(),
)

answers = Table(
    "answers",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("question", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("release", String, nullable=False),
    Column("at", String, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("answer", String, ForeignKey("answers.id"), index=True),
    Column("question", Text, nullable=False),
    Column("rating", Integer),
    Column("correction", Text),
    Column("by", String, nullable=False),
    *_received(),
    *_judged(),
    CheckConstraint("rating IN (-1, 1)", name="rating"),
    Index("ix_feedback_source_added_at", "source", "added_at"),
    Index("ix_feedback_by_added_at", "by", "added_at"),
)

strategy_outcomes = Table(
    "strategy_outcomes",
    metadata,
    _position(),
    Column("strategy", String, nullable=False),
    Column("step", String, nullable=False),
    Column("gain", Float, nullable=False),
    Column("at", String, nullable=False),
    UniqueConstraint("step", "strategy"),
)

interactions = Table(
    "interactions",
    metadata,
    _position(),
    Column("id", String, ForeignKey("answers.id"), nullable=False, unique=True),  # the reply, and what it answers
    Column("key", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("session", String, index=True),
    Column("arm", String, nullable=False),
    Column("prompt", Text, nullable=False),  # canonical JSON of the request
    Column("finish", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("first_token_seconds", Float),
    Column("seconds", Float, nullable=False),
    Column("rollout", String, index=True),
    Column("wave", Integer),  # of the rollout, when the reply was given
    Column("slices", Text),  # JSON: those of the rollout's slices that it belongs to
    CheckConstraint("finish IN ('stop', 'length', 'cancelled', 'error')", name="finish"),
)

ratings = Table(
    "ratings",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("response", String, ForeignKey("interactions.id"), index=True),
    Column("session", String, index=True),
    Column("key", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("metric", String, nullable=False),
    Column("value", Float, nullable=False),
    Column("comment", Text),
    Column("at", String, nullable=False),
    Column("doubt", Text),  # why it is in quarantine
    Column("said", String, index=True),  # digest of a comment's words, where there are enough to tell copies
    CheckConstraint("(response IS NULL) <> (session IS NULL)", name="target"),
    Index("ix_ratings_key_at", "key", "at"),
)

decisions = Table(  # a person's word on what was in quarantine
    "decisions",
    metadata,
    _position(),
    Column("record", String, nullable=False, unique=True),
    Column("released", Boolean, nullable=False),  # or discarded
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", String, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("live", String, nullable=False),
    Column("candidate", String, nullable=False),
    Column("secret", String, nullable=False),  # the key of its assignment, in hexadecimal
    Column("state", Text, nullable=False),
    Column("events", Text, nullable=False),  # canonical JSON
    Column("open", Boolean, nullable=False),
    Column("replies", Long, nullable=False),  # position of the last interaction that it has observed
    Column("ratings", Long, nullable=False),  # and of the last rating
    Column("started_at", String, nullable=False),
)

rollout_looks = Table(
    "rollout_looks",
    metadata,
    _position(),
    Column("rollout", String, ForeignKey("rollouts.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),  # seconds since 1970
    Column("stage", String, nullable=False),
    Column("share", Float, nullable=False),
    Column("evidence", Text, nullable=False),  # canonical JSON
)

keys = Table(
    "keys",
    metadata,
    _position(),
    Column("id", String, nullable=False, unique=True),
    Column("name", String, nullable=False, unique=True),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),  # SHA-256 of the key, which is not kept
    Column("created_at", String, nullable=False),
    Column("revoked_at", String),
    CheckConstraint("role IN ('client', 'admin')", name="role"),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)
