"""The schema's revision: reads it, upgrades a store to it, and checks that a store has it.

Nothing else imports Alembic, and this file only when it is needed: an up-to-date store is opened without it.
"""

from __future__ import annotations

import contextlib
import logging
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tunedb._internal import forks, safe_path
from tunedb._internal.printable import printable
from tunedb.errors import SchemaMismatch, StoreCorrupt, StoreError, StoreUnavailable
from tunedb.store.sql import backup
from tunedb.store.sql.engine import Database, locate
from tunedb.store.sql.mismatch import UNRELEASED, mismatch, schema_with_tables
from tunedb.store.sql.postgresql import PG_SCHEMA
from tunedb.store.sql.revision import HEAD as HEAD
from tunedb.store.sql.revision import VERSION_TABLE as VERSION_TABLE
from tunedb.store.sql.sqlite_failures import unusable

if TYPE_CHECKING:
    from alembic.config import Config

MAX_REVISION = 32  # characters, as in Alembic's own table; SQLite holds anything there
SCRIPTS = "tunedb:migrations"
_ADVISORY_LOCK = 0x74756E656462  # "tunedb"

_alembic_guard = threading.Lock()  # Alembic keeps its context in module globals


@forks.in_child
def _renew_guard() -> None:
    global _alembic_guard
    _alembic_guard = threading.Lock()  # another thread of the parent may hold the old one


logger = logging.getLogger("tunedb")


def prepare(database: Database, *, migrate: bool, create: bool) -> bool:
    """Make sure that the store has the schema that this version needs; return False if there is no store.

    A SQLite store is made, and with `migrate` brought up to date, here and now. A PostgreSQL store belongs to many:
    it is only ever changed by `upgrade`. An up-to-date store is not written to. Raises StoreError.
    """
    try:
        stored = revision(database)
    except StoreCorrupt:
        if not create:
            raise
        stored = None
    if stored == HEAD:
        return True
    if stored is None and not create:
        return False
    if not database.is_sqlite or stored == UNRELEASED or (stored is not None and (stored > HEAD or not migrate)):
        raise mismatch(database, stored, HEAD)
    try:
        bring_up(database)
    except StoreUnavailable:  # many processes may be waiting for the one that makes it
        if revision(database) != HEAD:
            raise
    return True


def load_alembic() -> None:
    """Import what making a store needs, which takes a while."""
    import alembic.command  # noqa: F401


def upgrade(url: str, *, busy_timeout: float = 30.0) -> str | None:
    """Upgrade the store to this version's schema, or make it; return the revision that it had, or None.

    Raises StoreError; then the store is as before.
    """
    return bring_up(locate(url, busy_timeout=busy_timeout))


def current(url: str) -> str | None:
    """Return the store's revision, or None if there is no store. Changes nothing; raises StoreError."""
    return revision(locate(url))


def check(url: str) -> None:
    """Raise SchemaMismatch unless the store has this version's revision, and its tables are as the models say."""
    check_tables(locate(url))


def check_tables(database: Database) -> None:
    """Raise SchemaMismatch unless the database has this version's revision and tables."""
    check_revision(database)
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from tunedb.store.sql.models import Base

    options = {
        "version_table": VERSION_TABLE,
        "target_metadata": Base.metadata,
        "compare_server_default": True,
        # A SQLite file may hold other people's tables as well.
        "include_name": lambda name, kind, _: kind != "table" or name in Base.metadata.tables,
    }
    with database.read() as connection:
        drift = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    if drift:
        raise SchemaMismatch(
            f"{database.url} has schema {HEAD}, but its tables are not those of {HEAD} "
            f"({len(drift)} differences, first: {drift[0]!r:.200}). Export it and import that into a new store."
        )


def check_revision(database: Database, connection: sa.Connection | None = None) -> None:
    """Raise SchemaMismatch unless the database, which may be connected already, has this version's revision."""
    stored = revision(database) if connection is None else _revision(connection)
    if stored != HEAD:
        raise mismatch(database, stored, HEAD)


def revision(database: Database) -> str | None:
    """Return the database's revision, or None if it holds no store yet. Raises StoreError."""
    if database.path is not None and not _is_file(database.path, database.url):
        return None
    with database.read() as connection:
        return _revision(connection)


def bring_up(database: Database) -> str | None:
    """Upgrade a database to this version's schema, unless another process has; return the revision that it had.

    A file of another revision is backed up first, and left as it is if that fails.
    """
    saved: Path | None = None
    with contextlib.ExitStack() as undo:
        with transaction(database) as connection:
            stored = _revision(connection)
            if stored is not None and (stored > HEAD or stored == UNRELEASED):
                raise mismatch(database, stored, HEAD)
            if stored is None and schema_with_tables(connection) is not None:
                raise mismatch(database, stored, HEAD)
            if stored != HEAD:
                if stored is not None and database.path is not None:
                    saved = _back_up(database, database.path, stored)
                    undo.callback(saved.unlink, missing_ok=True)  # should this fail, the next attempt makes its own
                from alembic import command
                from alembic.util import CommandError

                try:
                    with _alembic_guard:
                        command.upgrade(alembic_config(connection), "head")
                except CommandError as error:
                    raise SchemaMismatch(
                        f"Found schema {stored} in {database.url}, which no tunedb wrote ({error}), expected {HEAD}. "
                        "Name another store in TUNEDB_STORE."
                    ) from error
        undo.pop_all()  # what was there before is worth keeping
    if saved is not None:
        logger.warning("%s was upgraded from schema %s to %s. As it was before: %s", database.url, stored, HEAD, saved)
    return stored


def _back_up(database: Database, path: Path, stored: str) -> Path:
    try:
        return backup.copy(database, backup.default_path(path))
    except StoreError as error:
        raise type(error)(f"Schema {stored} is not upgraded, as the store can't be backed up: {error}") from error


@contextlib.contextmanager
def transaction(database: Database) -> Iterator[sa.Connection]:
    """Yield a connection in the exclusive transaction that changes a schema. A damaged file is replaced first."""
    with contextlib.suppress(StoreCorrupt):
        revision(database)  # refuses a file that can be no store of ours before there is a lock next to it
    with _exclusive(database):
        if database.path is not None:
            _set_aside_if_damaged(database, database.path)
            with contextlib.suppress(FileExistsError):
                safe_path.make_file(database.path)
        # Foreign keys off: with them on, altering a parent in a batch migration deletes its children.
        with database.write(foreign_keys=False) as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
                # Not IF NOT EXISTS, which asks for the right to create even if there is nothing to do.
                if connection.scalar(sa.select(sa.func.to_regnamespace(PG_SCHEMA))) is None:
                    connection.execute(sa.schema.CreateSchema(PG_SCHEMA))
            yield connection


def alembic_config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration around a live connection: no file and no URL that could hold a password."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", SCRIPTS)
    config.set_main_option("path_separator", "os")
    return config


def _revision(connection: sa.Connection) -> str | None:
    if connection.dialect.name == "postgresql":
        # None if there is no such table; a role that may only read may not be allowed to read this one.
        may_read = connection.scalar(
            sa.select(sa.func.has_table_privilege(sa.func.to_regclass(VERSION_TABLE), "SELECT"))
        )
        if not may_read:
            return None if may_read is None else _revision_by_columns(connection)
    elif not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    query: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    stored = [value if isinstance(value, str) else repr(value) for value in connection.scalars(query)]
    return max((printable(value[:MAX_REVISION]) for value in stored), default=None)  # of several, what refuses most


def _revision_by_columns(connection: sa.Connection) -> str:
    """Return HEAD if PostgreSQL has all columns of it; else what no revision is called."""
    from tunedb.store.sql.models import Base

    query = sa.text(
        "SELECT attrelid::regclass::text, attname FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class "
        "ON pg_class.oid = attrelid WHERE relnamespace = to_regnamespace(:schema) AND attnum > 0"
    )
    stored = {tuple(row) for row in connection.execute(query, {"schema": PG_SCHEMA})}
    needed = {(table.name, column.name) for table in Base.metadata.tables.values() for column in table.columns}
    return HEAD if needed <= stored else "not readable"


def _is_file(path: Path, url: str) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(url, error) from error
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "special file"
        raise StoreUnavailable(f"Expected a file at {url}, got a {kind}. Name another store in TUNEDB_STORE.")
    return True


@contextlib.contextmanager
def _exclusive(database: Database) -> Iterator[None]:
    """Hold `<file>.lock`, so that one process at a time makes, upgrades or replaces the file."""
    if database.path is None:
        yield
        return
    from filelock import FileLock, Timeout

    patience = 2 * database.busy_timeout  # making the first schema takes longer than a write
    lock = FileLock(f"{database.path}.lock", timeout=patience, mode=0o600)
    try:
        safe_path.make_folders(safe_path.resolve(database.path.parent))
        safe_path.check_beside(database.path, (".lock",))
        lock.acquire()
    except Timeout:
        raise StoreUnavailable(
            f"Another process has been opening {database.url} for more than {patience:g} s "
            f"(it holds {lock.lock_file}). Try again when it is done."
        ) from None
    # The folder can't be written, or, with NotImplementedError, its file system has no locks.
    except (OSError, NotImplementedError) as error:
        raise unusable(database.url, error) from error
    try:
        yield
    except OSError as error:  # of a file that is made or renamed meanwhile
        raise unusable(database.url, error) from error
    finally:
        with contextlib.suppress(OSError):  # the lock goes with the process in any case
            lock.release()


def _set_aside_if_damaged(database: Database, path: Path) -> None:
    """Rename a damaged file. Called under the lock, and checks again: many may see the damage, but one renames."""
    try:
        if not _is_file(path, database.url):
            return
        with database.read() as connection:
            _revision(connection)
            verdict = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    except StoreCorrupt as error:
        verdict = str(getattr(error.__cause__, "orig", error))
    if verdict == "ok":
        return
    aside = f"{path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    for suffix in ("-journal", "-wal", "-shm", ""):  # the journal first: left behind, it would corrupt the fresh file
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    logger.warning("%s was damaged (%s): set aside as %s, and a new store is made", database.url, verdict, aside)
