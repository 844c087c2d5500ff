"""Odd rows to plant next to sound ones: in each column of each table each value that someone or something may leave."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from tunedb.store.sql.models import Base

ELSEWHERE = ("claim", "hint", "copy_rate")  # whose odd rows are in test_claims, test_hints and test_copy_rates
TABLES = [name for name in Base.metadata.tables if name not in ELSEWHERE]

HUGE = "x" * 70_000  # more than the bound of any text
SQLITE = (
    None,
    "",
    "soon",
    HUGE,
    b"\xff\xfe\x00",
    b'{"n":1}',
    "[" * 5000,
    "{}",
    "[1]",
    '{"n":NaN}',
    '{"n":{"dtype":"torch.nonsense"}}',
    '{"kernel_size":0}',
    '{"dtype":"float33","kernel_size":0,"rows":"x"}',
    "\x00\x1b[2J\u202e",
    "9999-12-31 23:59:59.999999",
    "0001-01-01 00:00:00.000000",
    "2026-08-22T12:00:00+02:00",
    float("inf"),
    -1,
    0,
    5e-324,
    1e308,
    2**62,
)
NOT_UTF8 = b"\xff\xfe{"
TEXTS = (None, "", "soon", HUGE, "[" * 5000, '{"n":NaN}', '{"kernel_size":0}', "\x1b[2J\u202e")
POSTGRESQL: dict[type[Any], tuple[Any, ...]] = {
    sa.Double: (None, float("inf"), float("nan"), -1.0, 0.0, 5e-324, 1e308),
    sa.Integer: (None, -1, 0, 2**31 - 1),
    sa.DateTime: (
        None,
        "infinity",
        "-infinity",
        "9999-12-31 23:59:59.999999+00",
        "4713-01-01 00:00:00 BC",
        "10000-01-01",
    ),
    sa.Boolean: (None,),
}
KEYS = {"problem": {"problem_id"}, "device": {"device_id"}, "sweep": {"sweep_id"}}  # where a row refers to another


def plant(url: str, table: str, base: int = 1) -> int:
    """Plant copies of the table's row `base`, each with an odd value in one column; return how many.

    An odd problem or device gets a sweep of its own, an odd trial is another one of the base's sweep.
    """
    columns = Base.metadata.tables[table].columns
    odd = [column for column in columns if not column.primary_key and not column.foreign_keys]
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            cases = [(column.name, value) for column in odd for value in (*SQLITE, NOT_UTF8)]
            return _plant_sqlite(connection, table, cases, base)
    with psycopg.connect(url, autocommit=True, options="-c search_path=tunedb") as server:
        cases = []
        for column in odd:
            kind = getattr(column.type, "impl", column.type)
            values = next((values for type_, values in POSTGRESQL.items() if isinstance(kind, type_)), TEXTS)
            length = getattr(kind, "length", None)
            cases += [(column.name, value[:length] if isinstance(value, str) else value) for value in values]
        return _plant_postgresql(server, table, cases, base)


def _copies(table: str, row: dict[str, Any], cases: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    fresh = [name for name in ("uid", "digest", "own") if name in row]
    copies = []
    for number, (name, value) in enumerate(cases, 1):
        ids: dict[str, Any] = {"id": row["id"] + 10_000 * number} if "id" in row else {}
        copies.append(dict(row) | ids | {key: uuid.uuid4().hex for key in fresh} | {name: value})
    return copies


def _plant_sqlite(connection: sqlite3.Connection, table: str, cases: list[tuple[str, Any]], base: int) -> int:
    connection.execute("PRAGMA ignore_check_constraints=ON")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL,', ',') WHERE type = 'table'")
    connection.execute("PRAGMA writable_schema=RESET")
    connection.row_factory = sqlite3.Row

    def insert(into: str, row: dict[str, Any]) -> None:
        values = dict.fromkeys(row, "?")
        for name, value in row.items():
            if value is NOT_UTF8:
                values[name] = "CAST(? AS TEXT)"
        statement = f"INSERT OR IGNORE INTO {into} ({', '.join(row)}) VALUES ({', '.join(values.values())})"
        connection.execute(statement, tuple(row.values()))

    def rows(source: str, where: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {source} WHERE {where}")]

    return _plant(table, cases, base, insert, rows, connection.commit)


def _plant_postgresql(server: psycopg.Connection[Any], table: str, cases: list[tuple[str, Any]], base: int) -> int:
    from psycopg.rows import dict_row

    with server.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text AS home, conname AS name FROM pg_constraint "
            "WHERE connamespace = 'tunedb'::regnamespace AND contype = 'c'"
        )
        for found in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {found['home']} DROP CONSTRAINT IF EXISTS {found['name']}".encode())
        for each in Base.metadata.tables.values():
            for column in each.columns:
                if not column.nullable and not column.primary_key:
                    cursor.execute(f"ALTER TABLE {each.name} ALTER COLUMN {column.name} DROP NOT NULL".encode())

        def insert(into: str, row: dict[str, Any]) -> None:
            names, values = map(sql.Identifier, row), [sql.Placeholder()] * len(row)
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
                sql.Identifier(into), sql.SQL(", ").join(names), sql.SQL(", ").join(values)
            )
            cursor.execute(statement, tuple(row.values()))

        def rows(source: str, where: str) -> list[dict[str, Any]]:
            cursor.execute(f"SELECT * FROM {source} WHERE {where}".encode())
            return cursor.fetchall()

        return _plant(table, cases, base, insert, rows, lambda: None)


def _plant(table: str, cases: list[tuple[str, Any]], base: int, insert: Any, rows: Any, commit: Any) -> int:
    if table == "miss":  # each count needs a problem of its own
        [row] = rows("miss", f"problem_id = {base} AND host_id = {base}")
        [problem] = rows("problem", f"id = {base}")
        for number, (name, value) in enumerate(cases, 1):
            fresh = base + 50_000 + number
            insert("problem", {**problem, "id": fresh, "digest": uuid.uuid4().hex})
            insert("miss", {**row, "problem_id": fresh, name: value})
    else:
        [row] = rows(table, f"id = {base}")
        for copy in _copies(table, row, cases):
            insert(table, copy)
            if table == "host":
                [count, *_] = rows("miss", f"host_id = {base}")
                insert("miss", {**count, "host_id": copy["id"]})
            if table in ("problem", "device"):
                [sweep] = rows("sweep", f"{table}_id = {base} LIMIT 1")
                reference = {f"{table}_id": copy["id"]}
                insert("sweep", {**sweep, "id": copy["id"], "uid": uuid.uuid4().hex, **reference})
    commit()
    return len(cases)
