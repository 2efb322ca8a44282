"""Served interactions, ratings of them, and the keys of those who may ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")

INDEXED = {"interactions": ("subject", "session"), "ratings": ("response", "session", "subject")}


def upgrade() -> None:
    op.create_table(
        "interactions",
        _position(),
        sa.Column("id", sa.String, sa.ForeignKey("answers.id"), nullable=False, unique=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("session", sa.String),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("finish", sa.String, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("first_token_seconds", sa.Float),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.CheckConstraint("finish IN ('stop', 'length', 'cancelled', 'error')", name="finish"),
    )
    op.create_table(
        "ratings",
        _position(),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("response", sa.String, sa.ForeignKey("interactions.id")),
        sa.Column("session", sa.String),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("metric", sa.String, nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("at", sa.String, nullable=False),
        sa.CheckConstraint("(response IS NULL) <> (session IS NULL)", name="target"),
    )
    op.create_table(
        "keys",
        _position(),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("revoked_at", sa.String),
        sa.CheckConstraint("role IN ('client', 'admin')", name="role"),
    )
    for table, columns in INDEXED.items():
        for column in columns:
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    for table in ("keys", "ratings", "interactions"):
        op.drop_table(table)


def _position() -> sa.Column[int]:
    return sa.Column("position", LONG, primary_key=True, autoincrement=True)
