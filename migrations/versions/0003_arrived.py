"""The time at which a store took a finished sweep: what ranks a sweep that claims to have ended later."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sweep", sa.Column("arrived", sa.DateTime(timezone=True), nullable=True))
    # Of the older rows only those matter whose end is still to come; they arrived now at the latest.
    op.execute("UPDATE sweep SET arrived = CURRENT_TIMESTAMP WHERE finished > CURRENT_TIMESTAMP")


def downgrade() -> None:
    op.drop_column("sweep", "arrived")
