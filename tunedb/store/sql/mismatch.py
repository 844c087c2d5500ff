"""The errors for a store of another schema: what was found, what was expected, and the command to run."""

from __future__ import annotations

import re
import shlex
from importlib import metadata

import sqlalchemy as sa

from tunedb.errors import SchemaMismatch, SchemaNewer, SchemaOlder
from tunedb.store.sql.advice import on_store
from tunedb.store.sql.engine import Database
from tunedb.store.sql.postgresql import PG_SCHEMA
from tunedb.store.sql.revision import VERSION_TABLE

UNRELEASED = "0001"  # what versions before the first release wrote; it has no way to a later one


def mismatch(database: Database, stored: str | None, head: str) -> SchemaMismatch:
    """Return the error for a store whose revision is not the newest one that this version knows, `head`."""
    try:
        library = f"tunedb {metadata.version('tunedb')}"
    except metadata.PackageNotFoundError:
        library = "this tunedb"
    elsewhere = None
    if stored is None and not database.is_sqlite:
        with database.read() as connection:
            elsewhere = schema_with_tables(connection)
    if elsewhere is not None:
        moves = "; ".join(f'ALTER TABLE "{elsewhere}".{name} SET SCHEMA {PG_SCHEMA}' for name in _table_names())
        command = shlex.quote(f"CREATE SCHEMA IF NOT EXISTS {PG_SCHEMA}; {moves}")
        return SchemaMismatch(
            f"Expected tunedb's tables in schema {PG_SCHEMA} of {database.url}, found them in schema {elsewhere}: they "
            f"were made through a pooler that drops a connection's options. Run: psql -c {command}"
        )
    if stored is None:
        return SchemaOlder(
            f"Found no schema in {database.url}, expected {head}. Run: {on_store('tunedb db upgrade', database.url)}"
        )
    if stored == UNRELEASED:
        away = (
            "psql -c 'ALTER SCHEMA tunedb RENAME TO tunedb_unreleased'"
            if database.path is None
            else f"mv {shlex.quote(str(database.path))} {shlex.quote(f'{database.path}.unreleased')}"
        )
        return SchemaMismatch(
            f"Found schema {stored} in {database.url}, which versions before the first release wrote, expected {head}. "
            f"It can't be upgraded or exported: move it away, and kernels are tuned again. Run: {away}"
        )
    if not re.fullmatch(r"\d{4}", stored):
        return SchemaMismatch(
            f"Found schema {stored!r} in {database.url}, which no tunedb wrote, expected {head}. "
            "Name another store in TUNEDB_STORE."
        )
    if stored > head:
        return SchemaNewer(
            f"Schema {stored} in {database.url} is newer than {head}, which {library} needs. "
            "Run: pip install --upgrade tunedb"
        )
    return SchemaOlder(
        f"Schema {stored} in {database.url} is older than {head}, which {library} needs. "
        f"Run: {on_store('tunedb db upgrade', database.url)}"
    )


def schema_with_tables(connection: sa.Connection) -> str | None:
    """Return the schema in which PostgreSQL puts tables by itself if ours are there."""
    if connection.dialect.name == "sqlite":
        return None
    query = sa.text(
        "SELECT schemaname FROM pg_catalog.pg_tables WHERE tablename = :name AND schemaname <> :ours LIMIT 1"
    )
    name = connection.scalar(query, {"name": VERSION_TABLE, "ours": PG_SCHEMA})
    return None if name is None else str(name)


def _table_names() -> list[str]:
    from tunedb.store.sql.models import Base

    return [*Base.metadata.tables, VERSION_TABLE]
