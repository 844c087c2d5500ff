"""Counts by host and day: each host owns its rows, so that they can be gathered in a shared store as sums."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SOURCES = "served_by IN ('store', 'stale', 'nearest', 'default', 'sweep', 'override')"
_VALUES = "problem_id, device_id, served_by"


def _create_miss(*more: "sa.Column[str] | sa.Column[int]") -> None:
    time = sa.DateTime(timezone=True)
    own = [column.name for column in more]
    op.create_table(
        "miss",
        *[column for column in more if column.name == "host_id"],
        sa.Column("problem_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("served_by", sa.String(16), nullable=False),
        *[column for column in more if column.name != "host_id"],
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_seen", time, nullable=False),
        sa.Column("last_seen", time, nullable=False),
        sa.CheckConstraint(_SOURCES, name=op.f("ck_miss_served_by")),
        sa.CheckConstraint("count > 0", name=op.f("ck_miss_count")),
        *([sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_miss_host_id_host"))] if own else []),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_miss_problem_id_problem")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_miss_device_id_device")),
        sa.PrimaryKeyConstraint(*own[:1], "problem_id", "device_id", "served_by", *own[1:], name=op.f("pk_miss")),
    )
    op.create_index(op.f("ix_miss_device_id"), "miss", ["device_id"])
    op.create_index(op.f("ix_miss_last_seen"), "miss", ["last_seen"])


def upgrade() -> None:
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("own", sa.Text(), nullable=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("merged", sa.String(10), nullable=True),
        sa.CheckConstraint("origin IN ('local', 'imported', 'gone')", name=op.f("ck_host_origin")),
        sa.UniqueConstraint("uid", name=op.f("uq_host_uid")),
        sa.UniqueConstraint("own", name=op.f("uq_host_own")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
    )
    op.execute("CREATE TABLE miss_before AS SELECT * FROM miss")  # a name of a constraint is free only after a drop
    op.drop_table("miss")
    _create_miss(sa.Column("host_id", sa.Integer(), nullable=False), sa.Column("day", sa.String(10), nullable=False))
    op.create_index(op.f("ix_miss_problem_id"), "miss", ["problem_id"])
    connection = op.get_bind()
    if connection.scalar(sa.text("SELECT count(*) FROM miss_before")):
        is_sqlite = connection.dialect.name == "sqlite"
        uid = "lower(hex(randomblob(16)))" if is_sqlite else "md5(random()::text || clock_timestamp()::text)"
        day = "substr(last_seen, 1, 10)" if is_sqlite else "to_char(last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        # Which host counted is not known. They stay one host's, with an empty name.
        op.execute(f"INSERT INTO host (uid, name, own, origin) VALUES ({uid}, '', '', 'local')")
        op.execute(
            f"INSERT INTO miss (host_id, {_VALUES}, day, count, first_seen, last_seen) "
            f"SELECT host.id, {_VALUES}, {day}, count, first_seen, last_seen FROM miss_before, host"
        )
    op.drop_table("miss_before")


def downgrade() -> None:
    op.execute("CREATE TABLE miss_after AS SELECT * FROM miss")
    op.drop_table("miss")
    _create_miss()
    most = 2**31 - 1
    op.execute(
        f"INSERT INTO miss ({_VALUES}, count, first_seen, last_seen) SELECT {_VALUES}, "
        f"CASE WHEN sum(count) < {most} THEN sum(count) ELSE {most} END, min(first_seen), max(last_seen) "
        f"FROM miss_after GROUP BY {_VALUES}"
    )
    op.drop_table("miss_after")
    op.drop_table("host")
