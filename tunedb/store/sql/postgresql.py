"""Connections to PostgreSQL: their arguments, the settings of each transaction, and times that Python can't hold."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa

PG_SCHEMA = "tunedb"  # our own schema: others may use the database too
# A connection that falls silent is given up by the system after half a minute: psycopg waits without a limit.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}  # seconds, seconds, times


def arguments(url: sa.URL, busy_timeout: float) -> dict[str, Any]:
    """Return what psycopg takes besides the URL. What the URL names stays as it is."""
    defaults = {
        "connect_timeout": max(1, math.ceil(busy_timeout)),
        **_KEEPALIVE,
        "tcp_user_timeout": max(1000, int(busy_timeout * 2000)),  # milliseconds until what was sent is acknowledged
    }
    texts = {name: str(value) for name, value in defaults.items() if name not in url.query}
    return {**texts, "prepare_threshold": None}  # a pooler gives each transaction another session


def begin(connection: sa.Connection, busy_timeout: float) -> None:
    """Begin a transaction with our settings, which end with it.

    They are no start-up options of the connection: poolers refuse or drop those, and share sessions among clients.
    """
    values = {
        "search_path": PG_SCHEMA,
        "timezone": "UTC",
        "lock_timeout": str(int(busy_timeout * 1000)),
        "statement_timeout": str(int(busy_timeout * 2000)),  # a server that hangs; a wait for a lock ends before
    }
    connection.execute(sa.select(*(sa.func.set_config(name, value, True) for name, value in values.items())))


def read_any_time(engine: sa.Engine) -> None:
    """Have times that Python can't hold, such as 'infinity', come as text: psycopg would fail the whole query."""
    import psycopg
    from psycopg.types.datetime import TimestamptzLoader

    class LenientLoader(TimestamptzLoader):
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except psycopg.DataError:
                return bytes(data).decode()

    @sa.event.listens_for(engine, "connect")
    def _register(connection: Any, _record: object) -> None:
        connection.adapters.register_loader("timestamptz", LenientLoader)
