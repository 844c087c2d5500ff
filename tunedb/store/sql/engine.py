"""Databases by the storage rules: what a path or URL names, its connections, and failures as StoreError."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from tunedb._internal.redact import without_password
from tunedb.errors import StoreBusy, StoreCorrupt, StoreError, StoreUnavailable
from tunedb.settings import expand

PG_SCHEMA = "tunedb"
_HINTS = {
    sqlite3.SQLITE_BUSY: "Another process holds it: try again when it is done.",
    sqlite3.SQLITE_LOCKED: "Another thread holds it: try again when it is done.",
    sqlite3.SQLITE_FULL: "Free space on its disk.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable, or name another store in TUNEDB_STORE.",
    sqlite3.SQLITE_PERM: "Make the file and its folder accessible, or name another store in TUNEDB_STORE.",
    sqlite3.SQLITE_CANTOPEN: "Make the file and its folder accessible, or name another store in TUNEDB_STORE.",
}
_PG_BUSY = ("55P03", "57014")  # lock_not_available, query_canceled: what the two time-outs below end in


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """A database that may be connected to; no connection outlives its `with` block, so none crosses a fork."""

    url: str  # printable: without the password
    path: Path | None  # of the file, if it is one
    engine: sa.Engine
    busy_timeout: float  # seconds to wait for another writer
    secret: str | None  # the password, to keep it out of messages
    guard: contextlib.AbstractContextManager[Any]  # a lock if all threads share one connection, in memory

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection on which each SELECT is a transaction of its own: a reader never blocks a writer."""
        engine = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with self.guard, self._translated(), engine.connect() as connection:
            try:
                yield connection
            except (ValueError, TypeError) as error:  # such as a malformed time that was written by hand
                raise StoreError(
                    f"{self.url} holds a row that can't be read: {error!s:.100}. Run: tunedb db check"
                ) from error

    @contextlib.contextmanager
    def write(self, *, foreign_keys: bool = True) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that may write; it is committed at the end, rolled back on an error."""
        with self.guard, self._translated(), self.engine.connect() as connection:
            if not self.is_sqlite:
                yield connection
                connection.commit()
                return
            if not foreign_keys:  # before BEGIN: inside a transaction this PRAGMA does nothing
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            try:
                # IMMEDIATE: a read that turns into a write fails at once, however long the busy timeout.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                if not foreign_keys:
                    connection.rollback()
                    connection.exec_driver_sql("PRAGMA foreign_keys=ON")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._failure(error) from error

    def _failure(self, error: sa.exc.DBAPIError) -> StoreError:
        # sqlite3 reports corruption as DatabaseError, not as OperationalError: the code decides, not the class.
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        state = getattr(error.orig, "sqlstate", None)
        cause = str(error.orig).strip().partition("\n")[0]
        if self.secret:
            cause = cause.replace(self.secret, "***")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreCorrupt(
                f"{self.url}: expected a SQLite database, got a damaged file ({cause}). "
                "Run: tunedb db upgrade (sets the file aside and makes a new one)"
            )
        if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
            return StoreError(f"{self.url} refused a row ({cause}). Run: tunedb db check")
        busy = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state in _PG_BUSY
        return (StoreBusy if busy else StoreUnavailable)(
            f"Can't use {self.url}: {cause}. {_HINTS.get(code, 'See which store is set: tunedb path -v')}"
        )


def locate(url_or_path: str, *, busy_timeout: float = 30.0, read_only: bool = False) -> Database:
    """Return the database that a path or an SQLAlchemy URL names. Opens and creates nothing.

    With `read_only` a SQLite file is not even repaired by reading it: reading fails if a killed writer left a journal.

    Raises StoreUnavailable for a URL that can't be used, a database that is not supported, and a missing driver.
    """
    url = _url(url_or_path)
    backend, printable = url.get_backend_name(), without_password(url.render_as_string(hide_password=True))
    guard: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    path: Path | None = None
    options: dict[str, Any]
    if backend == "postgresql":
        options = {"poolclass": NullPool, "connect_args": _postgres_arguments(url, busy_timeout)}
    elif url.database in (None, "", ":memory:"):
        guard = threading.RLock()
        options = {"poolclass": StaticPool, "creator": lambda: _open_sqlite(":memory:", busy_timeout)}
    else:
        path = Path(str(url.database))
        # mode=rw, as SQLite would otherwise make a file, without our permissions and schema, if the file was removed.
        uri = f"file:{quote(os.fsencode(path))}?mode={'ro' if read_only else 'rw'}"
        options = {"poolclass": NullPool, "creator": lambda: _open_sqlite(uri, busy_timeout)}
    try:
        engine = sa.create_engine(url, **options)
    except ImportError as error:
        raise StoreUnavailable(
            f"Found no driver for {printable} ({error}). Run: pip install 'tunedb[postgres]'"
        ) from error
    return Database(printable, path, engine, busy_timeout, str(url.password or ""), guard)


def _url(url_or_path: str) -> sa.URL:
    """Return the URL with the file's real path: the same for every working folder and symbolic link."""
    if "://" not in url_or_path:
        return sa.URL.create("sqlite", database=_real(url_or_path))
    printable = without_password(url_or_path)
    try:
        url = sa.make_url(url_or_path)
        dialect = url.get_dialect()
    except (sa.exc.ArgumentError, ValueError):  # their text may hold the password
        raise StoreUnavailable(
            f"Expected a path or an SQLAlchemy URL such as postgresql://user:password@host/name, got {printable}."
        ) from None
    if (dialect.name, dialect.driver) not in (("sqlite", "pysqlite"), ("postgresql", "psycopg")):
        raise StoreUnavailable(f"Expected a sqlite:// or postgresql:// URL, got {printable}.")
    if dialect.name == "sqlite":
        if url.query or (url.database or "").startswith("file:"):
            raise StoreUnavailable(f"Expected a SQLite URL without options, such as sqlite:///path, got {printable}.")
        if url.database not in (None, "", ":memory:"):
            return url.set(database=_real(str(url.database)))
    return url


def _real(path: str) -> str:
    try:
        real = str(expand(path).resolve())
        real.encode()
    except (OSError, RuntimeError, ValueError) as error:  # no working folder, no home, a loop of links, a NUL, no UTF-8
        raise StoreUnavailable(f"Expected a path, got {path!r}: {error}. Name another store in TUNEDB_STORE.") from None
    return real


def _open_sqlite(uri: str, busy_timeout: float) -> sqlite3.Connection:
    # isolation_level=None: the driver begins nothing by itself, and the PRAGMAs run outside of any transaction.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
    connection.execute("PRAGMA foreign_keys=ON")
    # A transaction that outgrows the cache would lock out every reader until it ends.
    connection.execute("PRAGMA cache_spill=OFF")
    connection.text_factory = _text  # a text that is not UTF-8 would fail the whole query
    return connection


def _text(stored: bytes) -> str:
    return stored.decode(errors="surrogateescape")  # lone surrogates, which the check of a row refuses


def _postgres_arguments(url: sa.URL, busy_timeout: float) -> dict[str, Any]:
    options = url.query.get("options", "")
    server = {
        "search_path": PG_SCHEMA,  # our own schema: others may use the database too
        "timezone": "UTC",
        "lock_timeout": int(busy_timeout * 1000),
        "statement_timeout": int(busy_timeout * 2000),  # a server that hangs; a wait for a lock ends before
    }
    words = [options if isinstance(options, str) else " ".join(options)]
    arguments = {"options": " ".join(words + [f"-c {name}={value}" for name, value in server.items()]).strip()}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = str(max(1, math.ceil(busy_timeout)))
    return arguments
