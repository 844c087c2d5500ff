"""Opens a store: finds its database, makes or upgrades its schema, and returns the store in it."""

from __future__ import annotations

from typing import Literal, overload

from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate
from tunedb.store.sql.store import Store


@overload
def open_store(
    url_or_path: str,
    *,
    busy_timeout: float = ...,
    migrate: bool = ...,
    create: Literal[True] = ...,
) -> Store: ...
@overload
def open_store(url_or_path: str, *, busy_timeout: float = ..., migrate: bool = ..., create: bool) -> Store | None: ...
def open_store(
    url_or_path: str,
    *,
    busy_timeout: float = 30.0,
    migrate: bool = True,
    create: bool = True,
) -> Store | None:
    """Open the store at a path or an SQLAlchemy URL (`sqlite://` is one in memory).

    A SQLite file is made if it does not exist, replaced if it is damaged (the damaged one is kept next to it), and
    with `migrate` upgraded to this version's schema. With `create=False` nothing is made or replaced, and None is
    returned if there is no store. A PostgreSQL store is never changed by opening it: see `upgrade`.

    `busy_timeout` is the number of seconds to wait for another writer; a statement that computes for twice as long,
    and on SQLite for ten seconds, is ended. Raises StoreError.
    """
    database = locate(url_or_path, busy_timeout=busy_timeout)
    if not schema.prepare(database, migrate=migrate, create=create):
        return None
    return Store(database, replace_damaged=create)
