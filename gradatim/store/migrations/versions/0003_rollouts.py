"""Rollouts, and which of them a reply was part of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("position", LONG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("live", sa.String, nullable=False),
        sa.Column("candidate", sa.String, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("replies", LONG, nullable=False),
        sa.Column("ratings", LONG, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
    )
    op.add_column("interactions", sa.Column("rollout", sa.String))
    op.add_column("interactions", sa.Column("wave", sa.Integer))
    op.create_index(op.f("ix_interactions_rollout"), "interactions", ["rollout"])


def downgrade() -> None:
    op.drop_index(op.f("ix_interactions_rollout"), "interactions")
    for column in ("wave", "rollout"):
        op.drop_column("interactions", column)
    op.drop_table("rollouts")
