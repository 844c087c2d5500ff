"""Checks of `tunedb doctor` on a database: that it opens, its schema, the file's soundness, its rows, the clock."""

from __future__ import annotations

import shlex
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from tunedb.errors import SchemaNewer, SchemaOlder, SettingError, StoreError
from tunedb.store.doctor.finding import Verdict, bad, check, failed, ok, warn
from tunedb.store.retention import ABANDONED
from tunedb.store.sql import schema
from tunedb.store.sql.command_text import about
from tunedb.store.sql.engine import Database
from tunedb.store.sql.models import ProblemRow, SweepRow

SKEW = timedelta(minutes=1)
WAL_RESET_FIXED = (3, 51, 3)  # before it SQLite could lose data in WAL mode: https://sqlite.org/wal.html#walresetbug

Hashes = Callable[[Iterable[str]], Mapping[str, str]]  # of those of the named kernels that are installed
Clock = Callable[[], datetime]


@check("store")
def opened(database: Database, writable: bool = True, has_bundles: bool = False) -> Verdict:
    """Report where the store is, of which kind, and whether it opens."""
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    if database.is_sqlite and database.path is None:
        return ok(f"{database.url} (in memory, gone with the process)")
    try:
        revision = schema.revision(database)
    except StoreError as error:
        code = getattr(getattr(error.__cause__, "orig", None), "sqlite_errorcode", None)
        if code != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return warn(
            f"{database.url}: a process was killed in the middle of a write, which the next reader rolls back",
            about("tunedb db current", database.url),
        )
    if revision is None and database.is_sqlite and not writable and has_bundles:
        return ok(f"{database.url} is not there, and is not made in this mode: bundles answer calls")
    if revision is None and database.is_sqlite and not writable:
        return warn(
            f"There is no store at {database.url}, and in this mode calls make none",
            "Name the store in TUNEDB_STORE, or copy it there",
        )
    if revision is None and database.is_sqlite:
        return ok(f"{database.url} ({kind}) is not there yet: the first write makes it")
    return ok(f"{database.url} ({kind})")


@check("schema")
def schema_state(database: Database) -> Verdict:
    """Report the schema's revision, and the one that this version needs."""
    try:
        schema.check_revision(database)
    except (SchemaOlder, SchemaNewer) as error:
        finding = failed("schema", error)
        is_automatic = database.is_sqlite and isinstance(error, SchemaOlder)
        return warn(finding.found, finding.fix) if is_automatic else bad(finding.found, finding.fix)
    return ok(f"revision {schema.HEAD}, as needed")


@check("tables")
def tables(database: Database) -> Verdict:
    """Report whether the tables are those of the revision."""
    schema.check_tables(database)
    return ok("as the revision has them")


@check("sqlite")
def library(database: Database) -> Verdict:
    """Report SQLite's version and the file's journal mode: together they may have a bug."""
    with database.read() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    version = f"SQLite {sqlite3.sqlite_version}, journal mode {journal}"
    if journal != "wal" or sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return ok(version)
    fixed = ".".join(map(str, WAL_RESET_FIXED))
    return warn(
        f"{version}: it can lose writes by a bug that {fixed} fixes",
        f"sqlite3 {shlex.quote(str(database.path))} 'PRAGMA journal_mode=DELETE'",
    )


@check("integrity")
def integrity(database: Database) -> Verdict:
    """Report whether the file is undamaged, and every row has the rows that it refers to."""
    with database.read() as connection:
        broken = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(10)")]
        orphans = len(connection.exec_driver_sql("PRAGMA foreign_key_check").all())
    if broken == ["ok"] and not orphans:
        return ok("no damage")
    damage = f"rows that name others that are gone: {orphans}" if broken == ["ok"] else f"damaged: {'; '.join(broken)}"
    return bad(
        damage, f"{about('tunedb export -o rows.jsonl', database.url)} && tunedb import rows.jsonl --store NEW.db"
    )


@check("unfinished sweeps")
def unfinished(database: Database, now: Clock) -> Verdict:
    """Report whether sweeps were begun so long ago that no process continues them."""
    old = (SweepRow.status == "running", SweepRow.started < now() - ABANDONED)
    with database.read() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(SweepRow).where(*old)) or 0
    return (
        warn(f"{count} begun more than a day ago", about("tunedb gc", database.url))
        if count
        else ok("none is older than a day")
    )


@check("dead rows")
def dead_rows(database: Database, hashes: Hashes) -> Verdict:
    """Report whether sweeps are of a kernel that has changed since. Kernels that are not installed are not checked."""
    query = (
        sa.select(ProblemRow.kernel, SweepRow.kernel_hash, sa.func.count())
        .join_from(SweepRow, ProblemRow)
        .where(SweepRow.status != "running")
        .group_by(ProblemRow.kernel, SweepRow.kernel_hash)
    )
    with database.read() as connection:
        counts = connection.execute(query).all()
    kernels = sorted({row[0] for row in counts})
    try:
        current = hashes(kernels)
    except (ImportError, SettingError) as error:
        return Verdict("skipped", f"the kernels can't be loaded here: {error}")
    dead: dict[str, int] = defaultdict(int)
    for kernel, kernel_hash, count in counts:
        if current.get(kernel, kernel_hash) != kernel_hash:
            dead[kernel] += count
    unknown = [f"{kernel} is not installed, and was not checked" for kernel in kernels if kernel not in current]
    if dead:
        dead_counts = [f"{count} of {kernel}" for kernel, count in sorted(dead.items())]
        return warn(
            "; ".join([f"tuned for another version of the kernel: {', '.join(dead_counts)}", *unknown]),
            about("tunedb gc", database.url),
        )
    return ok("; ".join(unknown) or "none")


@check("clock")
def clock(database: Database, now: Clock) -> Verdict:
    """Report whether the server's clock and this machine's agree: the newest of several sweeps answers a call."""
    with database.read() as connection:
        before = now()
        theirs = connection.scalar(sa.select(sa.func.clock_timestamp()))
        after = now()
    assert isinstance(theirs, datetime)
    skew = max(before - theirs, theirs - after, timedelta())
    difference = f"{skew.total_seconds():.1f} s from the server's"
    return warn(difference, "Set both clocks by NTP: timedatectl set-ntp true") if skew > SKEW else ok(difference)
