"""The parts that the queries of every table share: connections, inserts that skip known rows, and the ids of facts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.errors import StoreCorrupt, StoreError, StoreUnavailable
from tunedb.store.sql import rows, schema
from tunedb.store.sql.command_text import about
from tunedb.store.sql.engine import Database
from tunedb.store.sql.models import DeviceRow, ProblemRow
from tunedb.store.sql.records import ReadableRows
from tunedb.store.sql.statements import PAGE as PAGE

AnyRow = sa.Row[*tuple[Any, ...]]


class Access:
    """A database on which each call uses a connection of its own, in a short transaction of its own."""

    def __init__(self, database: Database, *, replace_damaged: bool = True) -> None:
        self.database = database
        self._schema_version: int | None = None  # SQLite's own count of changes, when the revision was last read
        self._replace_damaged = replace_damaged and database.path is not None
        self.readable = ReadableRows(database.url, f" Run: {about('tunedb db check', database.url)}")

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection on which each SELECT is a transaction of its own."""
        with self._replacing(), self.database.read() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, which is committed at the end.

        Raises StoreError if the file was removed, replaced or brought to another schema since it was opened.
        """
        identity = self._identity()
        with self._replacing(), self.database.write() as connection:
            self._check_revision(connection)
            yield connection
        if self._identity() != identity:
            raise StoreUnavailable(f"{self.database.url} was removed or replaced during a write. Try again.")

    def _check_revision(self, connection: sa.Connection) -> None:
        """Read the revision again if the schema may have changed: another process may have upgraded the store."""
        version: int | None = None
        if self.database.is_sqlite:
            version = connection.exec_driver_sql("PRAGMA schema_version").scalar()
            if version == self._schema_version:
                return
        schema.check_revision(self.database, connection)
        self._schema_version = version

    def _identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the file; None if the file does not exist."""
        if self.database.path is None:
            return None
        try:
            status = self.database.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @contextlib.contextmanager
    def _replacing(self) -> Iterator[None]:
        """Replace a file whose damage shows only now: this call fails, the next one finds a new file."""
        try:
            yield
        except StoreCorrupt:
            if self._replace_damaged:
                with contextlib.suppress(StoreError):
                    schema.bring_up(self.database)
            raise

    def bytewise(self, column: Any) -> sa.ColumnElement[Any]:
        """Return the column in an order that is the same on both engines."""
        return sa.collate(column, "BINARY" if self.database.is_sqlite else "C")

    def insert(self, connection: sa.Connection, table: Any, values: Mapping[str, Any] | Sequence[Any]) -> bool:
        """Insert rows, except those that exist; return whether any is new. RETURNING would need a newer SQLite."""
        if self.database.is_sqlite:  # imported here, because a look-up inserts nothing
            from sqlalchemy.dialects import sqlite as dialect
        else:
            from sqlalchemy.dialects import postgresql as dialect  # type: ignore[no-redef]
        statement = dialect.insert(table).on_conflict_do_nothing().inline()
        return connection.execute(statement, values, execution_options={"preserve_rowcount": True}).rowcount > 0

    def problem_id(self, connection: sa.Connection, problem: Problem) -> int:
        """Return the id of the problem's row, which is inserted if need be."""
        return self._id(connection, ProblemRow, rows.problem_values(problem), ("kernel", "digest"))

    def device_id(self, connection: sa.Connection, device: Device) -> int:
        """Return the id of the device's row, which is inserted if need be."""
        return self._id(connection, DeviceRow, rows.device_values(device), ("digest",))

    def _id(self, connection: sa.Connection, table: Any, values: dict[str, Any], identity: Sequence[str]) -> int:
        """Return the id of a row; what its digest covers is written again if it was altered, for all rows need it."""
        covered = [table.__table__.c[name] for name in values if name != "info"]
        query = sa.select(table.id, *covered).where(*(getattr(table, name) == values[name] for name in identity))
        row = connection.execute(query).one_or_none()
        if row is None:
            self.insert(connection, table, values)  # or another process was faster
            row = connection.execute(query).one()
        if any(row._mapping[column.name] != values[column.name] for column in covered):
            connection.execute(sa.update(table).where(table.id == row.id).values(**values))
        return int(row.id)
