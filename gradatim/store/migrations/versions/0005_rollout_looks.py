"""What a rollout knew at some of its looks, so that it can be drawn over time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "rollout_looks",
        sa.Column("position", LONG, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.String, sa.ForeignKey("rollouts.id"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
    )
    op.create_index(op.f("ix_rollout_looks_rollout"), "rollout_looks", ["rollout"])


def downgrade() -> None:
    op.drop_index(op.f("ix_rollout_looks_rollout"), "rollout_looks")
    op.drop_table("rollout_looks")
