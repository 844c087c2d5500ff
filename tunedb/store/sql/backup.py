"""Copies of a SQLite store, made through SQLite: a plain copy can be torn, and drops this process's POSIX locks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from tunedb._internal import safe_path
from tunedb._internal.redact import is_path, without_password
from tunedb.errors import SettingError, StoreCorrupt, StoreUnavailable
from tunedb.settings import expand
from tunedb.store.sql.command_text import about
from tunedb.store.sql.engine import Database, locate
from tunedb.store.sql.sqlite_failures import unusable

_ADVICE = "Name another file: tunedb db backup TARGET"
_OF_TARGET = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)  # what only a file that is written can end in


def backup(url: str, target: str | os.PathLike[str] | None = None) -> Path:
    """Copy a SQLite store, as it is at this moment, to a new file of mode 0600, by default next to it; return its path.

    Others may read meanwhile; a writer waits. The copy is checked, and appears under its name only when it is whole.
    Raises SettingError if the store is not a file or the target exists, StoreError if the copy can't be made.
    """
    database = locate(url)
    if not database.is_sqlite:
        raise SettingError(f"{database.url} is not a SQLite file. Back it up with PostgreSQL's own tool: pg_dump")
    if database.path is None:
        raise SettingError(f"{database.url} is in memory; expected a file. Name a store in TUNEDB_STORE.")
    try:
        is_there = database.path.is_file()
    except OSError as error:
        raise unusable(database.url, error) from error
    if not is_there:
        raise StoreUnavailable(f"Found no file to back up at {database.url}. See: tunedb path -v")
    if target is not None and not is_path(os.fspath(target)):
        raise SettingError(f"Expected a file for the backup, got {without_password(os.fspath(target))}.")
    return copy(database, default_path(database.path) if target is None else expand(os.fspath(target)))


def default_path(path: Path) -> Path:
    """Return the default path of a backup that is made now: `<file>.backup-<UTC time>`."""
    return path.with_name(f"{path.name}.backup-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")


def copy(database: Database, target: Path) -> Path:
    """Copy a SQLite database to a new file of mode 0600; return its path."""
    if not target.name:
        raise SettingError(f"Expected a file's name for the backup, got {target}.")
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if target.exists() or target.is_symlink():
            raise SettingError(f"{target} exists. Give the backup a new name.")
        safe_path.resolve(target)
        safe_path.make_file(part)
        with database.read() as connection:
            try:
                _copy(connection, part, database.url)
            except sqlite3.Error as error:
                if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _OF_TARGET:
                    raise StoreUnavailable(f"Can't write a backup to {target}: {error}. {_ADVICE}") from error
                # `read` words it as any other failure of the store.
                raise sa.exc.DatabaseError(None, None, error) from error
        part.rename(target)
    except OSError as error:
        raise StoreUnavailable(f"Can't write a backup to {target}: {error.strerror}. {_ADVICE}") from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{part}{suffix}").unlink()
    return target


def _copy(connection: sa.Connection, part: Path, url: str) -> None:
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as destination:
        source.backup(destination, progress=_stop_when_busy)
        (verdict,) = destination.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(
            f"The store is damaged, and so would be its backup ({verdict}). "
            f"Run: {about('tunedb export -o rows.jsonl', url)} && tunedb import rows.jsonl --store NEW.db"
        )


def _stop_when_busy(status: int, _remaining: int, _pages: int) -> None:
    """Raise if the database is busy: the driver would retry forever, and SQLite has waited its busy timeout."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = status
        raise error
