"""Hints: configs that other tools found, in a table of their own; calls that one serves are counted as such."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = "host_id, problem_id, device_id, served_by, day, count, first_seen, last_seen"
_BEFORE = ("store", "stale", "nearest", "default", "sweep", "override")
_NOW = ("store", "stale", "nearest", "hint", "default", "sweep", "override")


def _create_miss(sources: tuple[str, ...]) -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "miss",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("problem_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("served_by", sa.String(16), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_seen", time, nullable=False),
        sa.Column("last_seen", time, nullable=False),
        sa.CheckConstraint(f"served_by IN {sources}", name=op.f("ck_miss_served_by")),
        sa.CheckConstraint("count > 0", name=op.f("ck_miss_count")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_miss_host_id_host")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_miss_problem_id_problem")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_miss_device_id_device")),
        sa.PrimaryKeyConstraint(
            "host_id", "problem_id", "device_id", "served_by", "day", name=op.f("pk_miss")
        ),
    )  # fmt: skip
    op.create_index(op.f("ix_miss_problem_id"), "miss", ["problem_id"])
    op.create_index(op.f("ix_miss_device_id"), "miss", ["device_id"])
    op.create_index(op.f("ix_miss_last_seen"), "miss", ["last_seen"])


def _change_sources(sources: tuple[str, ...]) -> None:
    """Make the table of counts again, because SQLite can't alter a CHECK; counts of other sources are left out."""
    op.execute("CREATE TABLE miss_before AS SELECT * FROM miss")  # a name of a constraint is free only after a drop
    op.drop_table("miss")
    _create_miss(sources)
    op.execute(f"INSERT INTO miss ({_COLUMNS}) SELECT {_COLUMNS} FROM miss_before WHERE served_by IN {sources}")
    op.drop_table("miss_before")


def upgrade() -> None:
    op.create_table(
        "hint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kernel", sa.String(200), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("tool", sa.String(32), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("arrived", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("digest", name=op.f("uq_hint_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hint")),
    )
    op.create_index(op.f("ix_hint_kernel_device"), "hint", ["kernel", "device"])
    _change_sources(_NOW)


def downgrade() -> None:
    _change_sources(_BEFORE)
    op.drop_table("hint")
