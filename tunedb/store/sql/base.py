"""What every query of a store stands on: connections, inserts that pass over what is there, and identities."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.errors import StoreCorrupt, StoreError
from tunedb.store.sql import rows, schema
from tunedb.store.sql.engine import Database
from tunedb.store.sql.models import DeviceRow, ProblemRow

PAGE = 200  # rows that one statement names by their ids


class Access:
    """A database of which each call uses a connection of its own, in a short transaction of its own."""

    def __init__(self, database: Database, *, replace_damaged: bool = True) -> None:
        self._database = database
        self._replace_damaged = replace_damaged and database.path is not None

    @property
    def url(self) -> str:
        """The store's URL as it may be printed: without the password."""
        return self._database.url

    def close(self) -> None:
        """Forget the database; one in memory is gone."""
        self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._replacing(), self._database.read() as connection:
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._replacing(), self._database.write() as connection:
            yield connection

    @contextlib.contextmanager
    def _replacing(self) -> Iterator[None]:
        """Damage may show only deep in the file: the call that meets it fails, the next one finds a fresh file."""
        try:
            yield
        except StoreCorrupt:
            if self._replace_damaged:
                with contextlib.suppress(StoreError):
                    schema.bring_up(self._database)
            raise

    def _bytewise(self, column: Any) -> sa.ColumnElement[Any]:
        return sa.collate(column, "BINARY" if self._database.is_sqlite else "C")  # the same order on both engines

    def _insert(self, connection: sa.Connection, table: Any, values: Mapping[str, Any] | Sequence[Any]) -> bool:
        """Insert rows, passing over those that are there; whether any is new. RETURNING needs too new a SQLite."""
        if self._database.is_sqlite:  # each engine's is imported where it is used: a look-up inserts nothing
            from sqlalchemy.dialects import sqlite as dialect
        else:
            from sqlalchemy.dialects import postgresql as dialect  # type: ignore[no-redef]
        statement = dialect.insert(table).on_conflict_do_nothing().inline()
        return connection.execute(statement, values, execution_options={"preserve_rowcount": True}).rowcount > 0

    def _id(self, connection: sa.Connection, table: Any, values: dict[str, Any], identity: Sequence[str]) -> int:
        query = sa.select(table.id).where(*(getattr(table, name) == values[name] for name in identity))
        found = connection.scalar(query)
        if found is None:
            self._insert(connection, table, values)  # or someone else was faster
            found = connection.scalar(query)
        assert found is not None
        return int(found)

    def _problem_id(self, connection: sa.Connection, problem: Problem) -> int:
        return self._id(connection, ProblemRow, rows.problem_values(problem), ("kernel", "digest"))

    def _device_id(self, connection: sa.Connection, device: Device) -> int:
        return self._id(connection, DeviceRow, rows.device_values(device), ("digest",))
