"""What waits for a person and what that person said; the slices of a reply."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")

INDEXES = {
    "ix_ratings_key_at": ("ratings", ["key", "at"]),
    "ix_ratings_said": ("ratings", ["said"]),
    "ix_feedback_answer": ("feedback", ["answer"]),
    "ix_feedback_source_added_at": ("feedback", ["source", "added_at"]),
    "ix_feedback_by_added_at": ("feedback", ["by", "added_at"]),
}


def upgrade() -> None:
    op.add_column("ratings", sa.Column("doubt", sa.Text))
    op.add_column("ratings", sa.Column("said", sa.String))
    op.add_column("interactions", sa.Column("slices", sa.Text))
    op.create_table(
        "decisions",
        sa.Column("position", LONG, primary_key=True, autoincrement=True),
        sa.Column("record", sa.String, nullable=False, unique=True),
        sa.Column("released", sa.Boolean, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    for name, (table, columns) in INDEXES.items():
        op.create_index(op.f(name), table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(op.f(name), table)
    op.drop_table("decisions")
    op.drop_column("interactions", "slices")
    for column in ("said", "doubt"):
        op.drop_column("ratings", column)
