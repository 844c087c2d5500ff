"""Databases by the storage rules: what a path or URL names, its connections, and failures as StoreError."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from tunedb._internal import safe_path
from tunedb._internal.control import suppress
from tunedb._internal.redact import is_ambiguous, is_path, masked, secrets_of, without_password
from tunedb.errors import StoreError, StoreReadOnly, StoreUnavailable
from tunedb.settings import expand, password_in_environment
from tunedb.store.sql import postgresql, sqlite_file
from tunedb.store.sql.command_text import about
from tunedb.store.sql.in_flight import in_flight
from tunedb.store.sql.sqlite_failures import failure_of, refused, unavailable, unusable
from tunedb.store.sql.sqlite_file import STATEMENT_S, StatementLimit

_PG_NO_RIGHT = "42501"  # insufficient_privilege: what a role may not do
_PG_READ_ONLY = "25006"  # read_only_sql_transaction: a standby, or a server under maintenance
_PG_BUSY = ("55P03", "57014")  # lock_not_available, query_canceled: what the two time-outs below end in


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """A database that may be connected to; no connection outlives its `with` block, so none crosses a fork."""

    url: str  # printable: without the password
    path: Path | None  # of the file, if it is one: its real path
    engine: sa.Engine = field(repr=False)  # whose own form shows the passwords of a URL's query
    busy_timeout: float  # seconds to wait for another writer
    secrets: tuple[str, ...] = field(repr=False)  # to keep them out of messages
    guard: contextlib.AbstractContextManager[Any]  # a lock if all threads share one connection, in memory
    limit: StatementLimit = field(repr=False)  # of SQLite; PostgreSQL has its own

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection that reads: each SELECT sees what is committed, and blocks no writer."""
        with self.guard, self._translated(), self._connected() as connection:
            if not self.is_sqlite:
                postgresql.begin(connection, self.busy_timeout)
            yield connection

    @contextlib.contextmanager
    def write(self, *, foreign_keys: bool = True) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that may write; it is committed at the end, rolled back on an error."""
        with self.guard, self._translated(), self._connected() as connection:
            if not self.is_sqlite:
                postgresql.begin(connection, self.busy_timeout)
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
    def _connected(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            driver = connection.connection.driver_connection
            with contextlib.nullcontext() if self.is_sqlite or driver is None else in_flight(driver):
                yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            self.limit.raise_signals()
            _mask(error, self.secrets)
            raise self._failure(error) from error
        except (sa.exc.NoResultFound, sa.exc.MultipleResultsFound) as error:
            raise StoreError(
                f"{self.url} refused a row (an index of someone else?). Run: {about('tunedb db check', self.url)}"
            ) from error
        except OSError as error:
            raise unusable(self.url, error) from error

    def _failure(self, error: sa.exc.DBAPIError) -> StoreError:
        driver_error = error.orig or error
        if self.is_sqlite:
            return failure_of(driver_error, self.url, self.path)
        if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
            return refused(driver_error, self.url)
        code = getattr(driver_error, "sqlstate", None)
        if code == _PG_NO_RIGHT:
            return StoreReadOnly(str(unavailable(driver_error, self.url, "Grant this role the right to write.")))
        if code == _PG_READ_ONLY:
            standby = StoreReadOnly(str(unavailable(driver_error, self.url, "Name the primary server, or try later.")))
            standby.is_temporary = True
            return standby
        return unavailable(driver_error, self.url, is_busy=code in _PG_BUSY)


def locate(url_or_path: str, *, busy_timeout: float = 30.0, read_only: bool = False) -> Database:
    """Return the database that a path or an SQLAlchemy URL names. Opens and creates nothing.

    With `read_only` a SQLite file is not even repaired by reading it: reading fails if a killed writer left a journal.

    Raises StoreUnavailable for a URL that can't be used, a database that is not supported, and a missing driver.
    """
    url = _url(url_or_path)
    backend, printable = url.get_backend_name(), without_password(url.render_as_string(hide_password=True))
    guard: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    limit = StatementLimit(max(2 * busy_timeout, STATEMENT_S))
    path: Path | None = None
    options: dict[str, Any]
    if backend == "postgresql":
        options = {"poolclass": NullPool, "connect_args": postgresql.arguments(url, busy_timeout)}
    elif url.database in (None, "", ":memory:"):
        guard = threading.RLock()
        options = {"poolclass": StaticPool, "creator": lambda: sqlite_file.connect(":memory:", busy_timeout, limit)}
    else:
        file = path = Path(str(url.database))
        creator = partial(sqlite_file.connect, file, busy_timeout, limit, read_only=read_only)
        options = {"poolclass": NullPool, "creator": creator}
    try:
        engine = sa.create_engine(url, **options)
    except ImportError as error:
        raise StoreUnavailable(
            f"Found no driver for {printable} ({error}). Run: pip install 'tunedb[postgres]'"
        ) from error
    if backend == "postgresql":
        postgresql.read_any_time(engine)
    else:
        sa.event.listen(engine, "before_cursor_execute", limit.begin)
    secrets = (*secrets_of(url_or_path), str(url.password or ""), password_in_environment())
    return Database(printable, path, engine, busy_timeout, secrets, guard, limit)


def _url(url_or_path: str) -> sa.URL:
    """Return the URL with the file's real path: the same for every working folder and symbolic link."""
    if url_or_path == ":memory:":
        return sa.URL.create("sqlite", database=url_or_path)
    if is_path(url_or_path):
        return sa.URL.create("sqlite", database=_real(url_or_path))
    printable = without_password(url_or_path)
    if is_ambiguous(url_or_path):
        raise StoreUnavailable(
            f"Expected '@', '?' and '&' in a password to be written as %40, %3F and %26, got {printable}."
        )
    dialect = None
    with suppress(sa.exc.ArgumentError, ValueError):  # whose text may hold the password: not even as a context
        url = sa.make_url(url_or_path)
        dialect = url.get_dialect()
    if dialect is None:
        raise StoreUnavailable(
            f"Expected a path or an SQLAlchemy URL such as postgresql://user:password@host/name, got {printable}."
        )
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
        real = str(safe_path.resolve(expand(path)))
        real.encode()
    except safe_path.UnsafePath as error:
        raise unusable(path, error) from None
    except (OSError, RuntimeError, ValueError) as error:  # no working folder, no home, a loop of links, a NUL, no UTF-8
        reason = str(error).rstrip(".")
        raise StoreUnavailable(
            f"Expected a path, got {path!r}: {reason}. Name another store in TUNEDB_STORE."
        ) from None
    return real


def _mask(error: BaseException | None, secrets: tuple[str, ...]) -> None:
    """Take the secrets out of a driver's error and of those behind it: a traceback shows all of them."""
    seen: list[BaseException] = []
    # Beyond the driver's own are the exceptions that the caller was handling, which are not ours to change.
    while error is not None and error not in seen and type(error).__module__.startswith(("sqlalchemy", "psycopg")):
        seen.append(error)
        error.args = tuple(masked(part, secrets) if isinstance(part, str) else part for part in error.args)
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
