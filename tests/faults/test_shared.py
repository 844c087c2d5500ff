"""A shared store that is not there, hangs, dies and comes back: calls go on, and no row is lost or stored twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.fakes import FakeKernel
from tests.faults import calls
from tests.faults.network import Forwarder, Refusing, Silent
from tests.faults.parts import start
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError
from tunedb.store import check, open_store, receive, upgrade
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.shared import SharedStore
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate
from tunedb.tuner import session

BOUND = 2.5  # seconds: the second that a call waits for a shared store, and what a loaded machine takes for the rest

NO_DRIVER = """
import json, logging, sys
sys.modules["psycopg"] = None
from tests.faults import calls
logging.basicConfig(format="%(message)s")
tuner = calls.tuner(store=sys.argv[1], shared="postgresql+psycopg://me:hush@127.0.0.1:1/name")
print(json.dumps([calls.call(tuner, n) for n in (1, 2, 3)]))
tuner.close()
"""


@pytest.fixture
def forwarder(postgresql_url: str) -> Iterator[Forwarder]:
    """The way to an upgraded shared store, over TCP."""
    upgrade(postgresql_url)
    with Forwarder(parse_qs(urlsplit(postgresql_url).query)["host"][0]) as found:
        yield found


def uids(url: str) -> list[str]:
    with open_store(url) as store:
        return [sweep.uid for sweep in store.iter_sweeps()]


def test_without_its_driver_a_shared_store_is_told_of_once_and_calls_go_on(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    process = start(NO_DRIVER, path)
    out, err = process.communicate(timeout=60)
    assert out.count('[2, "sweep", [1, 2, 4]') == 3
    assert err.count("pip install 'tunedb[postgres]'") == 1
    assert "only: 3. Run: tunedb sync" in err.splitlines()[-1]
    assert len(err.splitlines()) == 2
    assert "hush" not in err
    assert len(uids(path)) == 3


SILENCE = "no answer within 1 s"


@pytest.mark.parametrize("fault", ["down", "silent", "wrong password", "no store", "locked"])
def test_a_shared_store_that_fails_costs_one_call_a_second_and_the_next_ones_nothing(
    fault: str, tmp_path: Path, forwarder: Forwarder, postgresql_url: str, records: pytest.LogCaptureFixture,
    allowance: Callable[[], float],
) -> None:  # fmt: skip
    path = str(tmp_path / "store.db")
    reason = {
        "down": "refused",
        "silent": SILENCE,
        "wrong password": "password authentication failed for ***",
        "no store": "Run: tunedb db upgrade",
        "locked": SILENCE,
    }[fault]
    with Silent() as silent, Refusing() as refusing, psycopg.connect(postgresql_url) as other:
        url = {"silent": silent, "wrong password": refusing}.get(fault, forwarder).url()
        if fault == "down":
            forwarder.cut()
        elif fault == "no store":
            other.execute("DROP SCHEMA tunedb CASCADE")
            other.commit()
        elif fault == "locked":
            other.execute("LOCK TABLE tunedb.sweep IN ACCESS EXCLUSIVE MODE")
        tuner = calls.tuner(store=path, shared=url)
        found = [calls.call(tuner, n) for n in range(5)]
        other.rollback()
        tuner.close()
        told = [record.getMessage() for record in records.records if record.levelname == "WARNING"]
        if reason != SILENCE and any(SILENCE in message for message in told):
            # The server, which is on this machine too, was busy for a second: what it says is heard without a limit.
            with pytest.raises(StoreError) as raised:
                open_store(url, migrate=False)
            told[0] = str(raised.value)
    assert [(block, source) for block, source, _, _ in found] == [(2, "sweep")] * 5
    assert max(seconds for *_, seconds in found[1:]) < 1 + allowance()  # a call that waits for the store takes a second
    assert found[0][-1] < BOUND + allowance()
    assert len(uids(path)) == 5
    assert any(reason in message for message in told)
    assert len(told) <= 2  # that there was no answer, and, when it has come after all, that it was a failure
    assert "hush" not in records.text


def test_a_launcher_never_makes_or_migrates_a_shared_store(tmp_path: Path, postgresql_url: str) -> None:
    tuner = calls.tuner(store=str(tmp_path / "store.db"), shared=postgresql_url)
    calls.call(tuner)
    tuner.close()
    with psycopg.connect(postgresql_url) as connection:
        query = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'tunedb'"
        assert connection.execute(query).fetchone() == (0,)


@pytest.mark.parametrize("version", ["0000", "9999"])
def test_a_shared_store_of_another_version_is_left_as_it_is(
    version: str, tmp_path: Path, forwarder: Forwarder, postgresql_url: str, records: pytest.LogCaptureFixture
) -> None:
    with locate(postgresql_url).write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'")
    tuner = calls.tuner(store=str(tmp_path / "store.db"), shared=forwarder.url())
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    assert f"Schema {version} in postgresql+psycopg://postgres:***@127.0.0.1" in records.text
    with locate(postgresql_url).read() as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {schema.VERSION_TABLE}").scalar() == version
        assert connection.exec_driver_sql("SELECT count(*) FROM sweep").scalar() == 0


def test_what_another_machine_tuned_is_read_once_and_then_answers_from_memory(
    tmp_path: Path, forwarder: Forwarder, postgresql_url: str, allowance: Callable[[], float]
) -> None:
    for n in range(3):
        put(postgresql_url, n)
    tuner = calls.tuner(store=str(tmp_path / "store.db"), shared=forwarder.url())
    assert calls.call(tuner, 0)[:3] == (4, "store", [])
    forwarder.cut()
    for n in (1, 2):
        block, source, tried, seconds = calls.call(tuner, n)
        assert (block, source, tried) == (4, "store", [])
        assert seconds < 1 + allowance()
    tuner.close()


def test_rows_tuned_while_it_was_away_are_sent_when_it_is_back_exactly_once(
    tmp_path: Path, forwarder: Forwarder, postgresql_url: str, records: pytest.LogCaptureFixture,
    allowance: Callable[[], float],
) -> None:  # fmt: skip
    path, seconds = str(tmp_path / "store.db"), [0.0]
    shared = SharedStore(forwarder.url(), partial(session._open_shared, forwarder.url()), monotonic=lambda: seconds[0])
    tuner = calls.tuner(LayeredStore(GuardedStore(path, lambda: open_store(path)), shared), store=path)
    assert calls.call(tuner, 0)[:2] == (2, "sweep")
    shared.close(10)
    assert len(uids(postgresql_url)) == 1
    forwarder.cut()  # killed during a warm
    for n in range(1, 5):
        block, source, _, took = calls.call(tuner, n)
        assert (block, source) == (2, "sweep")
        assert took < BOUND + allowance()
        shared.close(10)
    assert (len(uids(path)), len(uids(postgresql_url))) == (5, 1)
    forwarder.up()
    seconds[0] += RETRY_AFTER_S + 1
    assert calls.call(tuner, 5)[:2] == (2, "sweep")
    shared.close(10)
    assert (len(uids(path)), len(uids(postgresql_url))) == (6, 6)
    with open_store(path) as here, open_store(postgresql_url) as there:
        assert receive(there, here).stored == 0
        assert receive(here, there).stored == 0
    assert sorted(uids(path)) == sorted(uids(postgresql_url))
    check(postgresql_url)
    warnings = [record.getMessage() for record in records.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "no answer within" not in text]) == 1  # as calls on a busy machine get


def test_a_write_that_fails_half_way_leaves_nothing_and_a_repeated_one_adds_nothing(
    tmp_path: Path, forwarder: Forwarder, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunedb.store.sql.store.PAGE_S", 60.0)  # on a busy machine, a page is one transaction too
    path = str(tmp_path / "store.db")
    tuner = calls.tuner(store=path)
    for n in range(20):
        calls.call(tuner, n)
    tuner.close()
    with psycopg.connect(postgresql_url) as connection:  # the eleventh sweep is refused
        connection.execute(
            "CREATE FUNCTION tunedb.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF (SELECT count(*) FROM tunedb.sweep) > 10 THEN RAISE EXCEPTION 'no space left'; END IF; RETURN NEW; "
            "END $$; CREATE TRIGGER full_ AFTER INSERT ON tunedb.sweep FOR EACH ROW EXECUTE FUNCTION tunedb.full()"
        )
    with open_store(path) as here, open_store(forwarder.url()) as there:
        with pytest.raises(Exception, match="no space left"):
            receive(there, here)
        assert list(there.iter_sweeps(finished=False)) == []
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("DROP TRIGGER full_ ON tunedb.sweep")
        receive(there, here)
        receive(there, here)
    assert sorted(uids(path)) == sorted(uids(postgresql_url))


def test_the_end_of_a_process_waits_two_seconds_at_most_for_a_server_that_hangs(
    tmp_path: Path, allowance: Callable[[], float]
) -> None:
    with Silent() as silent:
        code = f"""
import time
from tests.faults import calls
tuner = calls.tuner(store={str(tmp_path / "store.db")!r}, shared={silent.url()!r})
calls.call(tuner)
print(time.time(), flush=True)
"""
        process = start(code)
        out, _ = process.communicate(timeout=60)
        assert time.time() - float(out) < 5 + allowance()
    assert len(uids(str(tmp_path / "store.db"))) == 1


def put(url: str, n: int) -> None:
    """What another machine found for a problem: BLOCK=4."""
    tuner = calls.tuner(store="sqlite://")
    kernel = FakeKernel({1: 9.0, 4: 3.0})
    found = tuner.choose(kernel, kernel.problem(n=n), -1).sweep
    assert isinstance(found, Sweep)
    with open_store(url) as store:
        store.put_sweep(replace(found, host="elsewhere"))
