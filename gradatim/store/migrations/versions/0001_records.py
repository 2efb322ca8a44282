"""Documents, answers, feedback, outcomes of strategies, and settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "documents",
        _position(),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("blob", sa.String, nullable=False),
        *_received(),
        *_judged(),
    )
    op.create_table(
        "answers",
        _position(),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_table(
        "feedback",
        _position(),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("answer", sa.String, sa.ForeignKey("answers.id")),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("rating", sa.Integer),
        sa.Column("correction", sa.Text),
        sa.Column("by", sa.String, nullable=False),
        *_received(),
        *_judged(),
        sa.CheckConstraint("rating IN (-1, 1)", name="rating"),
    )
    op.create_table(
        "strategy_outcomes",
        _position(),
        sa.Column("strategy", sa.String, nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("gain", sa.Float, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.UniqueConstraint("step", "strategy"),
    )
    op.create_table("meta", sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.Text, nullable=False))
    for table in ("documents", "feedback"):
        op.create_index(op.f(f"ix_{table}_status"), table, ["status"])


def downgrade() -> None:
    for table in ("meta", "strategy_outcomes", "feedback", "answers", "documents"):
        op.drop_table(table)


def _position() -> sa.Column[int]:
    return sa.Column("position", LONG, primary_key=True, autoincrement=True)


def _received() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in ("source", "digest", "added_at")]


def _judged() -> list[sa.Column[str] | sa.Column[str | None] | sa.CheckConstraint]:
    return [
        sa.Column("status", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("status IN ('new', 'studied', 'quarantined')", name="status"),
    ]
