"""Confirmations: sweeps whose winner still held when it was raced again in another environment."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "confirmation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("sweep_uid", sa.String(32), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("time_us", sa.Double(), nullable=True),
        sa.Column("default_time_us", sa.Double(), nullable=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_confirmation")),
        sa.UniqueConstraint("uid", name=op.f("uq_confirmation_uid")),
    )
    op.create_index(op.f("ix_confirmation_sweep_uid"), "confirmation", ["sweep_uid"])


def downgrade() -> None:
    op.drop_table("confirmation")
