"""The tables as typed models. Queries are in `store` and its parts, conversions to records in `rows`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from tunedb.core.claim import ClaimState
from tunedb.core.sweep import COUNTED_SOURCES, REFERRING, MarkKind, SweepStatus, TrialOutcome, TrialStatus
from tunedb.store.sql.rows import HOST_ORIGINS, MAX_TEXT, ORIGINS, time_from_text


class _Bounded(sa.TypeDecorator[str]):
    """A text that a query cuts off if it is longer than any that tunedb writes: one huge row takes no memory.

    The check of its row then refuses it, as it does one of another type, which SQLite can hold in any column.
    """

    cache_ok = True
    impl = sa.String

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        is_long = sa.func.length(column) > MAX_TEXT
        return sa.type_coerce(sa.case((is_long, sa.func.substr(column, 1, MAX_TEXT + 1)), else_=column), self)


class BoundedText(_Bounded):
    """A text of up to MAX_TEXT characters."""

    impl = sa.Text
    cache_ok = True


class BoundedString(_Bounded):
    """A text of a length that its column names, which SQLite ignores."""

    impl = sa.String
    cache_ok = True


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware UTC time with microseconds; SQLite, which has no such type, keeps it as sortable text.

    What can't be read as a time comes back as it is, so that it spoils its own row and not the whole query.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002 (SQLAlchemy's signature)
        return time_from_text if dialect.name == "sqlite" else _time_in_utc


def _time_in_utc(value: object) -> object:
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) else value
    except OverflowError:  # within a day of the year 1 or 9999
        return str(value)


class Base(DeclarativeBase):
    """The base of the models. Every constraint has a name, so that a later revision can alter it."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # Text, because PostgreSQL's JSONB reorders keys; Double, because a time must come back bit for bit.
    type_annotation_map = {str: BoundedText(), float: sa.Double(), datetime: UtcTime()}  # noqa: RUF012 (SQLAlchemy's name)


def _one_of(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    """Return a CHECK, not a native enum, so that both engines run the same migrations."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", name=column)


class DeviceRow(Base):
    """A model of GPU."""

    __tablename__ = "device"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(BoundedString(64), unique=True)
    name: Mapped[str]
    backend: Mapped[str]
    arch: Mapped[str]
    multiprocessors: Mapped[int]
    info: Mapped[str]  # canonical JSON, never compared


class ProblemRow(Base):
    """A kernel's name and the facts that its speed depends on."""

    __tablename__ = "problem"
    __table_args__ = (sa.UniqueConstraint("kernel", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kernel: Mapped[str] = mapped_column(BoundedString(200))
    key: Mapped[str]  # canonical JSON
    digest: Mapped[str] = mapped_column(BoundedString(64))


class SweepRow(Base):
    """The trials of one problem on one device in one go. Once finished it is never updated."""

    __tablename__ = "sweep"
    __table_args__ = (
        _one_of("status", SweepStatus),
        _one_of("origin", ORIGINS),
        sa.CheckConstraint("(status = 'running') = (finished IS NULL)", name="finished"),
        sa.CheckConstraint("(status = 'tuned') = (config IS NOT NULL)", name="config"),
        sa.CheckConstraint("time_us >= 0 AND default_time_us >= 0", name="times"),
        sa.Index(None, "problem_id", "device_id", "kernel_hash"),
        sa.Index(None, "device_id", "kernel_hash", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(BoundedString(32), unique=True)
    problem_id: Mapped[int] = mapped_column(sa.ForeignKey("problem.id"))
    device_id: Mapped[int] = mapped_column(sa.ForeignKey("device.id"), index=True)
    kernel_hash: Mapped[str] = mapped_column(BoundedString(64))
    environment: Mapped[str]  # canonical JSON
    status: Mapped[str] = mapped_column(BoundedString(16))
    complete: Mapped[bool]
    config: Mapped[str | None]  # canonical JSON
    time_us: Mapped[float | None]
    default_time_us: Mapped[float | None]
    counts: Mapped[str]  # canonical JSON: trials by status
    started: Mapped[datetime]
    finished: Mapped[datetime | None]
    expires: Mapped[datetime | None]
    origin: Mapped[str] = mapped_column(BoundedString(16))
    host: Mapped[str]
    arrived: Mapped[datetime | None]  # when this store took it, finished; NULL if an older version did


class TrialRow(Base):
    """One config, compiled, checked and timed in a sweep."""

    __tablename__ = "trial"
    __table_args__ = (
        _one_of("status", TrialStatus),
        _one_of("outcome", TrialOutcome),
        sa.CheckConstraint(f"(outcome IN {tuple(map(str, REFERRING))}) = (reference IS NOT NULL)", name="reference"),
        sa.CheckConstraint("time_us >= 0 AND p20_us >= 0 AND p80_us >= 0 AND compile_s >= 0", name="times"),
        sa.UniqueConstraint("sweep_id", "uid"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(BoundedString(32))
    sweep_id: Mapped[int] = mapped_column(sa.ForeignKey("sweep.id", ondelete="CASCADE"))
    config: Mapped[str]  # canonical JSON
    status: Mapped[str] = mapped_column(BoundedString(16))
    time_us: Mapped[float | None]
    p20_us: Mapped[float | None]
    p80_us: Mapped[float | None]
    samples: Mapped[int]
    compile_s: Mapped[float | None]
    registers: Mapped[int | None]
    spills: Mapped[int | None]
    shared_bytes: Mapped[int | None]
    error: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(BoundedString(16))
    reference: Mapped[str | None] = mapped_column(
        BoundedString(32)
    )  # of another trial of the sweep, or an earlier sweep


class MarkRow(Base):
    """A judgement of a sweep: a fact of its own, never updated. It may arrive before its sweep, so no foreign key."""

    __tablename__ = "mark"
    __table_args__ = (_one_of("kind", MarkKind),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(BoundedString(32), unique=True)
    sweep_uid: Mapped[str] = mapped_column(BoundedString(32), index=True)
    kind: Mapped[str] = mapped_column(BoundedString(16))
    reason: Mapped[str]
    time: Mapped[datetime]


class ConfirmationRow(Base):
    """A winner that still held in another environment: a fact of its own. It may arrive before its sweep, as a mark."""

    __tablename__ = "confirmation"

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(BoundedString(32), unique=True)
    sweep_uid: Mapped[str] = mapped_column(BoundedString(32), index=True)
    environment: Mapped[str]  # canonical JSON
    time_us: Mapped[float | None]  # of the winner
    default_time_us: Mapped[float | None]
    time: Mapped[datetime]


class HostRow(Base):
    """A host that counts calls, under a uid of its own: two stores of one host are two rows, as both only count up."""

    __tablename__ = "host"
    __table_args__ = (_one_of("origin", HOST_ORIGINS),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(BoundedString(32), unique=True)
    name: Mapped[str]
    own: Mapped[str | None] = mapped_column(BoundedText(), unique=True)  # the name, unless another store sent it
    origin: Mapped[str] = mapped_column(BoundedString(16))  # `local` counts here; `gone` is the sum of many
    merged: Mapped[str | None] = mapped_column(BoundedString(10))  # its counts up to this day are in the sum of `gone`


class MissRow(Base):
    """A count of the calls that a source served, by host and day; `default` and `nearest` are misses."""

    __tablename__ = "miss"
    __table_args__ = (_one_of("served_by", COUNTED_SOURCES), sa.CheckConstraint("count > 0", name="count"))

    host_id: Mapped[int] = mapped_column(sa.ForeignKey("host.id"), primary_key=True)
    problem_id: Mapped[int] = mapped_column(sa.ForeignKey("problem.id"), primary_key=True, index=True)
    device_id: Mapped[int] = mapped_column(sa.ForeignKey("device.id"), primary_key=True, index=True)
    served_by: Mapped[str] = mapped_column(BoundedString(16), primary_key=True)
    day: Mapped[str] = mapped_column(BoundedString(10), primary_key=True)  # in UTC, such as 2026-08-22
    count: Mapped[int]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime] = mapped_column(index=True)


class CopyRateRow(Base):
    """How fast a device copies, as measured last: the limit of a kernel that moves bytes."""

    __tablename__ = "copy_rate"
    __table_args__ = (sa.CheckConstraint("bytes_per_s > 0", name="rate"),)

    device_id: Mapped[int] = mapped_column(sa.ForeignKey("device.id"), primary_key=True)
    bytes_per_s: Mapped[float]  # read and written, together
    measured: Mapped[datetime]
    host: Mapped[str] = mapped_column(BoundedText())


class ClaimRow(Base):
    """A lease of one process on a problem, a device and a kernel's hash: only it sweeps them. Never leaves its store.

    No foreign keys: a claim is older than the first sweep, with which its problem and device are stored.
    """

    __tablename__ = "claim"
    __table_args__ = (_one_of("state", ClaimState),)

    kernel: Mapped[str] = mapped_column(BoundedString(200), primary_key=True)
    problem: Mapped[str] = mapped_column(BoundedString(64), primary_key=True)  # digest
    device: Mapped[str] = mapped_column(BoundedString(64), primary_key=True)  # digest
    kernel_hash: Mapped[str] = mapped_column(BoundedString(64), primary_key=True)
    owner: Mapped[str]
    place: Mapped[str | None] = mapped_column(BoundedString(64))  # names the lock file that the owner holds
    attempt: Mapped[int]  # grows whenever it is taken
    state: Mapped[str] = mapped_column(BoundedString(16))
    expires: Mapped[datetime]  # by the database's clock; of one that was given back, when that was


class HintRow(Base):
    """A config that another tool found: never a fact, and of no other table, as it knows a label and a few facts."""

    __tablename__ = "hint"
    __table_args__ = (sa.Index(None, "kernel", "device"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(BoundedString(64), unique=True)  # of kernel, facts, device, config and tool
    kernel: Mapped[str] = mapped_column(BoundedString(200))
    key: Mapped[str]  # canonical JSON: the facts that its tool knew
    device: Mapped[str]  # a label in one spelling, such as nvidia_h100_80gb_hbm3
    config: Mapped[str]  # canonical JSON
    tool: Mapped[str] = mapped_column(BoundedString(32))
    place: Mapped[str]  # the file and the key in it
    evidence: Mapped[str]  # JSON: versions and times, as the tool kept them
    arrived: Mapped[datetime]


# Here and not at the first query: while this runs it holds a lock of SQLAlchemy's, which a child that is forked then
# would find held for ever. A fork waits for imports.
configure_mappers()
