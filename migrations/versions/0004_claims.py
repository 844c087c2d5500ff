"""Claims: which process may sweep a problem on a device, until when; and an index for a kernel's newest sweeps."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "claim",
        sa.Column("kernel", sa.String(200), nullable=False),
        sa.Column("problem", sa.String(64), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("kernel_hash", sa.String(64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("place", sa.String(64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('held', 'released', 'failed')", name=op.f("ck_claim_state")),
        sa.PrimaryKeyConstraint("kernel", "problem", "device", "kernel_hash", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_sweep_device_id_kernel_hash_id"), "sweep", ["device_id", "kernel_hash", "id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_sweep_device_id_kernel_hash_id"), "sweep")
    op.drop_table("claim")
