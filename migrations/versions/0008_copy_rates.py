"""Copy rates of devices: what the time of a kernel that moves bytes is compared with."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "copy_rate",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("bytes_per_s", sa.Double(), nullable=False),
        sa.Column("measured", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.CheckConstraint("bytes_per_s > 0", name=op.f("ck_copy_rate_rate")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_copy_rate_device_id_device")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_copy_rate")),
    )


def downgrade() -> None:
    op.drop_table("copy_rate")
