"""A shared store that may only be read, and one whose connections fall silent, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.faults import calls
from tests.faults.network import Forwarder
from tests.faults.test_shared import put, uids
from tests.store.samples import DEVICE, HASH, sweep
from tunedb.core.claim import ClaimKey
from tunedb.store import open_store, upgrade
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.shared import SharedStore
from tunedb.store.store_thread import MAX_GIVEN_UP
from tunedb.tuner import session


@pytest.fixture
def shared_url(postgresql_url: str) -> str:
    """The shared store, without rows."""
    upgrade(postgresql_url)
    return postgresql_url


@pytest.fixture(params=["reads all tables", "reads all but the version", "may write, but not now"])
def reader_url(request: pytest.FixtureRequest, shared_url: str) -> Iterator[str]:
    """The shared store as a role sees it that can't write."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA tunedb TO reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA tunedb TO reader")
        if request.param == "reads all but the version":
            connection.execute("REVOKE ALL ON tunedb.tunedb_alembic_version FROM reader")
        elif request.param == "may write, but not now":  # as on a standby
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA tunedb TO reader")
            connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA tunedb TO reader")
            connection.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        folder = parse_qs(urlsplit(shared_url).query)["host"][0]
        yield f"postgresql+psycopg://reader@/postgres?host={folder}"
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")


def remote(url: str, **given: object) -> SharedStore:
    """The shared store as a call uses it."""
    return SharedStore(url, partial(session._open_shared, url), **given)  # type: ignore[arg-type]


def eventually(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_role_that_may_only_read_is_a_reader_and_no_failure(
    tmp_path: Path,
    reader_url: str,
    shared_url: str,
    records: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    is_temporary = "not now" in request.node.callspec.params["reader_url"]
    put(shared_url, 0)
    path, shared = str(tmp_path / "store.db"), remote(reader_url, deadline=30.0)
    tuner = calls.tuner(LayeredStore(GuardedStore(path, lambda: open_store(path)), shared), store=path)
    assert calls.call(tuner, 0)[:3] == (4, "store", [])
    assert [calls.call(tuner, n)[:2] for n in (1, 2)] == [(2, "sweep")] * 2
    put(shared_url, 3)
    assert calls.call(tuner, 3)[:2] == (4, "store")  # it is still read
    shared.close(10)
    shared.report()
    tuner.close()
    warned = [record.getMessage() for record in records.records if record.levelname == "WARNING"]
    assert [text.partition("only: ")[2] for text in warned] == (["2. Run: tunedb sync"] if is_temporary else [])
    assert (len(uids(path)), len(uids(shared_url))) == (2, 2)


def writer_of(shared_url: str, *statements: str) -> str:
    """The shared store as a role sees it that may write, but for what these statements change."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS writer; CREATE ROLE writer LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA tunedb TO writer; GRANT ALL ON ALL TABLES IN SCHEMA tunedb TO writer")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA tunedb TO writer")
        for statement in statements:
            connection.execute(statement)
    return f"postgresql+psycopg://writer@/postgres?host={parse_qs(urlsplit(shared_url).query)['host'][0]}"


def remove_writer(shared_url: str) -> None:
    """Remove that role."""
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY writer; DROP ROLE writer")


def test_a_standby_takes_sweeps_again_when_it_is_the_primary_and_gets_those_until_then(
    tmp_path: Path, shared_url: str, records: pytest.LogCaptureFixture
) -> None:
    writer = writer_of(shared_url, "ALTER ROLE writer SET default_transaction_read_only = on")
    path, seconds = str(tmp_path / "store.db"), [0.0]
    shared = remote(writer, deadline=30.0, monotonic=lambda: seconds[0])
    tuner = calls.tuner(LayeredStore(GuardedStore(path, lambda: open_store(path)), shared), store=path)
    for n in (1, 2):
        assert calls.call(tuner, n)[:2] == (2, "sweep")
        shared.flush()
        seconds[0] += RETRY_AFTER_S + 1
    assert uids(shared_url) == []
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE writer RESET default_transaction_read_only")
    assert calls.call(tuner, 3)[:2] == (2, "sweep")
    shared.close(10)
    with open_store(shared_url) as store:
        sent = list(store.iter_sweeps())
        states = {store.claims.get(ClaimKey(one.problem, one.device, one.kernel_hash)).state for one in sent}
    assert ({one.problem["n"] for one in sent}, states) == ({1, 2, 3}, {"released"})
    assert uids(shared_url) == uids(path)
    shared.report()
    tuner.close()
    assert [record.getMessage() for record in records.records if record.levelname == "WARNING"] == []
    remove_writer(shared_url)


def test_a_role_that_may_write_sweeps_but_no_claims_sends_its_sweeps(
    tmp_path: Path, shared_url: str, records: pytest.LogCaptureFixture
) -> None:
    writer = writer_of(shared_url, "REVOKE ALL ON tunedb.claim FROM writer")
    path = str(tmp_path / "store.db")
    shared = remote(writer, deadline=30.0)
    tuner = calls.tuner(LayeredStore(GuardedStore(path, lambda: open_store(path)), shared), store=path)
    for n in (1, 2):
        assert calls.call(tuner, n)[:2] == (2, "sweep")
    shared.close(10)
    shared.report()
    tuner.close()
    assert len(uids(shared_url)) == 2
    assert [record.getMessage() for record in records.records if record.levelname == "WARNING"] == []
    remove_writer(shared_url)


def test_a_role_that_may_not_read_the_revision_does_not_use_tables_of_another_version(
    tmp_path: Path, shared_url: str, records: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(shared_url, autocommit=True) as connection:
        connection.execute(
            "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA tunedb TO reader"
        )
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA tunedb TO reader")
        connection.execute("REVOKE ALL ON tunedb.tunedb_alembic_version FROM reader")
        connection.execute("ALTER TABLE tunedb.claim RENAME COLUMN attempt TO other")
        folder = parse_qs(urlsplit(shared_url).query)["host"][0]
        tuner = calls.tuner(
            store=str(tmp_path / "store.db"), shared=f"postgresql+psycopg://reader@/postgres?host={folder}"
        )
        assert calls.call(tuner)[:2] == (2, "sweep")
        tuner.close()
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")
    assert "SchemaMismatch" in records.text


def test_connections_that_fall_silent_are_given_up_and_replaced_however_often(
    shared_url: str, records: pytest.LogCaptureFixture
) -> None:
    with open_store(shared_url) as store:
        store.put_sweeps([sweep(n) for n in range(10)])
    folder, seconds = parse_qs(urlsplit(shared_url).query)["host"][0], [0.0]
    with Forwarder(folder) as forwarder:
        shared = remote(forwarder.url(), deadline=30.0, monotonic=lambda: seconds[0])
        assert len(shared.get_sweeps(sweep(0).problem, DEVICE, HASH)) == 1
        reader = shared._accesses[0]
        for n in range(1, MAX_GIVEN_UP + 2):
            shared.deadline = shared._rows._deadline = 0.4
            forwarder.is_silent = True
            shared.refresh(sweep(n).problem, DEVICE, HASH)
            found = shared.get_sweeps(sweep(n).problem, DEVICE, HASH)
            assert len(found) == 1  # as it was when it was first read
            assert not shared.takes_writes()
            eventually(lambda: not reader.unfinished())  # it does not hang, though the connection does
            forwarder.is_silent = False
            seconds[0] += RETRY_AFTER_S + 1
            shared.deadline = shared._rows._deadline = 10.0
            with open_store(shared_url) as store:
                store.put_sweep(sweep(n))
            assert len(shared.get_sweeps(sweep(n).problem, DEVICE, HASH)) == 2
        assert len([thread for thread in threading.enumerate() if thread.name == "tunedb-shared"]) <= 1
