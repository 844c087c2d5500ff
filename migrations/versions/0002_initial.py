"""The six tables."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("arch", sa.Text(), nullable=False),
        sa.Column("multiprocessors", sa.Integer(), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("digest", name=op.f("uq_device_digest")),
    )
    op.create_table(
        "problem",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kernel", sa.String(200), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problem")),
        sa.UniqueConstraint("kernel", "digest", name=op.f("uq_problem_kernel_digest")),
    )
    op.create_table(
        "sweep",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("problem_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("kernel_hash", sa.String(64), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("config", sa.Text(), nullable=True),
        sa.Column("time_us", sa.Double(), nullable=True),
        sa.Column("default_time_us", sa.Double(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("finished", time, nullable=True),
        sa.Column("expires", time, nullable=True),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.CheckConstraint("status IN ('running', 'tuned', 'failed', 'aborted')", name=op.f("ck_sweep_status")),
        sa.CheckConstraint("origin IN ('local', 'imported')", name=op.f("ck_sweep_origin")),
        sa.CheckConstraint("(status = 'running') = (finished IS NULL)", name=op.f("ck_sweep_finished")),
        sa.CheckConstraint("(status = 'tuned') = (config IS NOT NULL)", name=op.f("ck_sweep_config")),
        sa.CheckConstraint("time_us >= 0 AND default_time_us >= 0", name=op.f("ck_sweep_times")),
        sa.UniqueConstraint("uid", name=op.f("uq_sweep_uid")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_sweep_problem_id_problem")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_sweep_device_id_device")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index(op.f("ix_sweep_device_id"), "sweep", ["device_id"])
    op.create_index(
        op.f("ix_sweep_problem_id_device_id_kernel_hash"), "sweep", ["problem_id", "device_id", "kernel_hash"]
    )
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("time_us", sa.Double(), nullable=True),
        sa.Column("p20_us", sa.Double(), nullable=True),
        sa.Column("p80_us", sa.Double(), nullable=True),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("compile_s", sa.Double(), nullable=True),
        sa.Column("registers", sa.Integer(), nullable=True),
        sa.Column("spills", sa.Integer(), nullable=True),
        sa.Column("shared_bytes", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reference", sa.String(32), nullable=True),
        sa.CheckConstraint(
            "status IN ('ok', 'wrong', 'compile_error', 'out_of_resources', 'runtime_error', 'timeout', 'pruned')",
            name=op.f("ck_trial_status"),
        ),
        sa.CheckConstraint(
            "outcome IN ('measured', 'duplicate_of', 'known_from', 'lost_device')", name=op.f("ck_trial_outcome")
        ),
        sa.CheckConstraint(
            "(outcome IN ('duplicate_of', 'known_from')) = (reference IS NOT NULL)", name=op.f("ck_trial_reference")
        ),
        sa.CheckConstraint(
            "time_us >= 0 AND p20_us >= 0 AND p80_us >= 0 AND compile_s >= 0", name=op.f("ck_trial_times")
        ),
        sa.UniqueConstraint("sweep_id", "uid", name=op.f("uq_trial_sweep_id_uid")),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweep.id"], name=op.f("fk_trial_sweep_id_sweep"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
    )
    op.create_table(
        "mark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("sweep_uid", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("time", time, nullable=False),
        sa.CheckConstraint("kind IN ('pin', 'unpin', 'quarantine', 'release')", name=op.f("ck_mark_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mark")),
        sa.UniqueConstraint("uid", name=op.f("uq_mark_uid")),
    )
    op.create_index(op.f("ix_mark_sweep_uid"), "mark", ["sweep_uid"])
    op.create_table(
        "miss",
        sa.Column("problem_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("served_by", sa.String(16), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_seen", time, nullable=False),
        sa.Column("last_seen", time, nullable=False),
        sa.CheckConstraint(
            "served_by IN ('store', 'stale', 'nearest', 'default', 'sweep', 'override')",
            name=op.f("ck_miss_served_by"),
        ),
        sa.CheckConstraint("count > 0", name=op.f("ck_miss_count")),
        sa.ForeignKeyConstraint(["problem_id"], ["problem.id"], name=op.f("fk_miss_problem_id_problem")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_miss_device_id_device")),
        sa.PrimaryKeyConstraint("problem_id", "device_id", "served_by", name=op.f("pk_miss")),
    )
    op.create_index(op.f("ix_miss_device_id"), "miss", ["device_id"])
    op.create_index(op.f("ix_miss_last_seen"), "miss", ["last_seen"])


def downgrade() -> None:
    for table in ("miss", "mark", "trial", "sweep", "problem", "device"):
        op.drop_table(table)
