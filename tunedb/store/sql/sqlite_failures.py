"""Failures of a SQLite file as StoreError: what happened, and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tunedb._internal import safe_path
from tunedb.errors import StoreBusy, StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from tunedb.store.sql.command_text import about

DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_HINTS = {
    sqlite3.SQLITE_BUSY: "Another process holds it: try again when it is done.",
    sqlite3.SQLITE_LOCKED: "Another thread holds it: try again when it is done.",
    sqlite3.SQLITE_FULL: "Free space on its disk.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable, or name another store in TUNEDB_STORE.",
    sqlite3.SQLITE_PERM: "Make the file and its folder accessible, or name another store in TUNEDB_STORE.",
    sqlite3.SQLITE_CANTOPEN: "Make the file and its folder accessible, or name another store in TUNEDB_STORE.",
}


def failure_of(error: BaseException, url: str, path: Path | None) -> StoreError:
    """Return the error for what the driver raised on a database; `url` is printable, `path` that of its file."""
    # sqlite3 reports corruption as DatabaseError, not as OperationalError: the code decides, not the class.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    cause = first_line(error)
    if code == sqlite3.SQLITE_NOTADB and path is not None and not _may_be_ours(path):
        return StoreUnavailable(
            f"{url}: expected a SQLite database, got a file of another kind, which stays as it is. "
            "Name another store in TUNEDB_STORE."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(
            f"{url}: expected a SQLite database, got a damaged file ({cause}). "
            f"Run: {about('tunedb db upgrade', url)} (sets the file aside and makes a new one)"
        )
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return refused(error, url)
    if code == sqlite3.SQLITE_READONLY:
        return StoreReadOnly(str(unavailable(error, url, _HINTS[code])))
    if code == sqlite3.SQLITE_INTERRUPT:
        sound = f"A statement took too long. See whether the file is sound: {about('tunedb db check', url)}"
        return unavailable(error, url, sound)
    busy = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return unavailable(error, url, _HINTS.get(code), is_busy=busy)


def unavailable(error: BaseException, url: str, hint: str | None = None, *, is_busy: bool = False) -> StoreError:
    """Return the error for a database that can't be used, or that others hold."""
    kind = StoreBusy if is_busy else StoreUnavailable
    return kind(f"Can't use {url}: {first_line(error)}. {hint or 'See which store is set: tunedb path -v'}")


def refused(error: BaseException, url: str) -> StoreError:
    """Return the error for a row that the database does not take."""
    return StoreError(f"{url} refused a row ({first_line(error)}). Run: {about('tunedb db check', url)}")


def first_line(error: BaseException) -> str:
    """Return the first line of what a driver says."""
    return str(error).strip().partition("\n")[0]


def unusable(url: str, error: OSError | NotImplementedError) -> StoreUnavailable:
    """Return the error for a store whose files the system refuses, or whose path other users could redirect."""
    if isinstance(error, safe_path.UnsafePath):
        return StoreUnavailable(
            f"Refused {url}: {error.strerror}. Name a store in a folder of your own in TUNEDB_STORE."
        )
    return StoreUnavailable(
        f"Can't use {url}: {getattr(error, 'strerror', None) or error}. "
        "Make the file and its folder accessible, or name another store in TUNEDB_STORE."
    )


def _may_be_ours(path: Path) -> bool:
    """Return whether a file that is no database may be a damaged store: by its name, or by the lock file next to it.

    Only such a file is ever set aside: a path that was mistyped can name any file of the user's. A file whose header
    is SQLite's is not asked about.
    """
    lock = path.with_name(f"{path.name}.lock")
    return path.suffix in DATABASE_SUFFIXES or (lock.is_file() and lock.stat().st_size == 0)
