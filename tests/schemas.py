"""New stores without Alembic: the statements of the first upgrade in this process make the later ones.

A migration from nothing takes 20 ms, of which Alembic and SQLAlchemy spend 16 on building the same statements.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import alembic.command
import sqlalchemy as sa
from alembic.config import Config

from tunedb.store.sql import schema

Upgrade = Callable[[Config, str], None]
READS = ("SELECT", "PRAGMA")


@functools.cache
def replaying() -> Upgrade:
    """Return Alembic's `upgrade`, but for a new store on an engine whose statements are known."""
    real: Upgrade = alembic.command.upgrade
    known: dict[str, list[tuple[str, Any]]] = {}

    def upgrade(config: Config, revision: str) -> None:
        connection: sa.Connection = config.attributes["connection"]
        engine = connection.dialect.name
        if schema._revision(connection) is not None:
            real(config, revision)
        elif engine in known:
            with contextlib.closing(connection.connection.cursor()) as cursor:
                for statement, parameters in known[engine]:
                    cursor.execute(statement, parameters)
        else:
            with recorded(connection) as statements:
                real(config, revision)
            known[engine] = statements

    return upgrade


@contextmanager
def recorded(connection: sa.Connection) -> Iterator[list[tuple[str, Any]]]:
    """Yield the statements that change the database in the block, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def record(_: object, __: object, statement: str, parameters: Any, ___: object, ____: object) -> None:
        if not statement.lstrip().upper().startswith(READS):
            statements.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(connection, "before_cursor_execute", record)
