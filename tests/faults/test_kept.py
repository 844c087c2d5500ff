"""Results that wait in memory: what happens to the store, the settings or the process loses none without a record."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tunedb
from tests.faults.network import Silent
from tests.faults.parts import ROOT, output_of, start
from tests.store.samples import DEVICE, HASH, sweep
from tests.threads import eventually
from tunedb.core.sweep import Sweep
from tunedb.store import open_store, wait_budget
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import GuardedStore
from tunedb.store.sql import schema
from tunedb.tuner import session

FAULTS = ["remove", "empty", "replace", "busy", "free", "upgrade", "downgrade", "settings", "rest"]


class World:
    """A store that much happens to, and a process that writes to it."""

    def __init__(self, path: Path, busy_timeout: float = 0.02) -> None:
        self.path, self.seconds, self.numbers = path, 0.0, itertools.count()
        self.busy_timeout = busy_timeout
        self.holder: sqlite3.Connection | None = None
        self.finished, self.removed = dict[str, Sweep](), set[str]()
        self.guarded = self._guarded()

    def _guarded(self, before: GuardedStore | None = None) -> GuardedStore:
        return GuardedStore(
            str(self.path),
            lambda: open_store(str(self.path), busy_timeout=self.busy_timeout),
            writer=None if before is None else before.writer,
            monotonic=lambda: self.seconds,
        )

    def finish(self) -> None:
        """Finish a sweep, which is seen at once."""
        done = sweep(next(self.numbers))
        self.finished[done.uid] = done
        self.guarded.finish_sweep(done)

    def seen(self) -> bool:
        """Whether this process sees the last sweep, unless it was removed with its file."""
        uid, done = next(reversed(self.finished.items()))
        found = {one.uid for one in self.guarded.get_sweeps(done.problem, DEVICE, HASH)}
        return uid in found | self.removed

    def stored(self) -> set[str]:
        """The uids in the file."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            try:
                return {row[0] for row in connection.execute("SELECT uid FROM sweep")}
            except sqlite3.OperationalError:  # no such table
                return set()

    def happen(self, fault: str) -> None:
        """Let it happen."""
        if fault == "settings":
            self.guarded.close()
            self.guarded = self._guarded(self.guarded)
        elif fault == "rest":
            self.seconds += RETRY_AFTER_S + 1
        elif fault == "busy" and self.holder is None and self.path.exists():
            self.holder = sqlite3.connect(self.path, isolation_level=None, timeout=5)
            self.holder.execute("BEGIN IMMEDIATE")
        elif fault == "free":
            self.free()
        elif fault in ("upgrade", "downgrade") and self.stored():
            self.free()
            with contextlib.closing(sqlite3.connect(self.path, timeout=5)) as connection, connection:
                version = "9999" if fault == "upgrade" else schema.HEAD
                connection.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'")
                connection.execute(f"CREATE TABLE IF NOT EXISTS other_{next(self.numbers)} (a)")
        elif fault in ("remove", "empty", "replace"):
            self.change(fault)

    def change(self, fault: str) -> None:
        """Change the file while nobody writes to it."""
        if not self.path.exists():
            return
        self.happen("busy")
        self.removed |= self.stored()
        if fault == "remove":
            self.path.unlink()
        elif fault == "empty":
            os.truncate(self.path, 0)  # not open(): closing it would drop the locks of this process
        else:
            other = self.path.with_name("other.db")
            open_store(str(other)).close()
            other.rename(self.path)
        self.free()

    def free(self) -> None:
        """End what the other process does."""
        if self.holder is not None:
            self.holder.close()
            self.holder = None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["finish", *FAULTS]), min_size=2, max_size=10))
def test_whatever_happens_to_a_store_each_finished_sweep_is_in_it_at_the_end(
    steps: list[str], quick_path: Path
) -> None:
    for path in quick_path.parent.iterdir():
        path.unlink()
    world = World(quick_path)
    for step in ["finish", *steps]:
        if step == "finish":
            world.finish()
            assert world.seen()
        else:
            world.happen(step)
    world.happen("downgrade")
    world.free()
    assert eventually(world.guarded.flush, 60)
    assert set(world.finished) <= world.stored() | world.removed
    world.guarded.close()


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("fault", ["remove", "empty", "replace"])
def test_a_file_that_goes_under_a_process_costs_nothing_that_is_tuned_after_it(
    fault: str, quick_path: Path, records: pytest.LogCaptureFixture
) -> None:
    world = World(quick_path, busy_timeout=60.0)  # nobody holds it for long but this process's own threads
    world.finish()
    assert world.guarded.flush()
    world.happen(fault)
    for _ in range(3):
        world.finish()
        assert world.seen()
    assert eventually(lambda: len(world.stored()) == 3, 60)  # without a rest
    assert not [record for record in records.records if record.levelname == "WARNING"]


@pytest.mark.usefixtures("patience")
def test_a_result_whose_file_is_removed_during_its_commit_is_written_again(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, check = World(quick_path, busy_timeout=60.0), schema.check_revision
    world.finish()
    assert world.guarded.flush()

    def remove(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        monkeypatch.undo()
        quick_path.unlink()

    with contextlib.closing(sqlite3.connect(quick_path)) as connection:
        connection.execute("CREATE TABLE other (a)")  # so that the revision is looked at
    monkeypatch.setattr(schema, "check_revision", remove)
    world.finish()
    assert world.guarded.flush()
    assert len(world.stored()) == 1


def test_a_process_writes_nothing_to_a_store_that_was_upgraded_under_it_and_says_so_by_number(
    quick_path: Path, records: pytest.LogCaptureFixture
) -> None:
    world = World(quick_path)
    world.finish()
    assert eventually(world.guarded.flush, 60)
    world.happen("upgrade")
    for _ in range(3):
        world.finish()
    assert not world.guarded.flush()
    assert len(world.stored()) == 1
    world.guarded.writer.report()
    warnings = [record.getMessage() for record in records.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "Schema 9999" in warnings[0]
    assert warnings[1].endswith("are lost: 3.")


@pytest.fixture(autouse=True)
def no_other_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush is about the stores of this test alone."""
    for module in ("writer", "shared"):
        monkeypatch.setattr(f"tunedb.store.{module}._all", weakref.WeakSet())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process that writes for long."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("change", ["using", "configure"])
def test_what_waits_for_a_busy_store_outlives_a_change_of_the_settings(change: str, quick_path: Path) -> None:
    tunedb.configure(store=quick_path)
    open_store(str(quick_path)).close()
    done = [sweep(n) for n in range(2)]
    with locked(quick_path):
        for one in done:
            session.active().store.finish_sweep(one)
        if change == "using":
            with tunedb.using(mode="off"):
                assert session.active().store.get_sweeps(done[0].problem, DEVICE, HASH) == []
        else:
            tunedb.configure(store=quick_path.with_name("other.db"))
            session.active()
            tunedb.configure(store=quick_path)
        for one in done:  # seen by later settings, also those that do not write
            with tunedb.using(mode="read"):
                assert session.active().store.get_sweeps(one.problem, DEVICE, HASH) == [one]
            assert session.active().store.get_sweeps(one.problem, DEVICE, HASH) == [one]
    assert tunedb.flush(10)
    with open_store(str(quick_path)) as store:
        assert {one.uid for one in store.iter_sweeps()} == {one.uid for one in done}


def test_what_waited_under_settings_that_do_not_come_back_is_written_all_the_same(quick_path: Path) -> None:
    tunedb.configure(store=quick_path)
    open_store(str(quick_path)).close()
    with locked(quick_path):
        session.active().store.finish_sweep(sweep(1))
        tunedb.configure(mode="off")
    with open_store(str(quick_path)) as store:
        assert eventually(lambda: len(list(store.iter_sweeps())) == 1)


# A worker whose last act is a sweep, in each way in which a process can be made and end.
WORKERS = """
import multiprocessing, os, sys, threading, time, warnings
import tunedb
from tests.store.samples import sweep
from tunedb.store import open_store
from tunedb.tuner import session

def finish(n, end):
    tunedb.configure(store=sys.argv[1], shared=sys.argv[2])
    if end == "slow":  # still on its way when the worker returns
        from tunedb.store.sql.store import Store
        put = Store.put_sweep
        Store.put_sweep = lambda *arguments: (time.sleep(0.1), put(*arguments))
    session.active().store.finish_sweep(sweep(n))
    if end == "os._exit":
        assert tunedb.flush(10)
        os._exit(0)

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for path in sys.argv[1:3]:
        open_store(path).close()
    for n, (method, end) in enumerate([("fork", "slow"), ("spawn", "slow"), ("forkserver", ""), ("fork", "os._exit")]):
        worker = multiprocessing.get_context(method).Process(target=finish, args=(n, end))
        worker.start()
        worker.join()
    child = os.fork()
    if child == 0:
        finish(9, "os._exit")
    os.waitpid(child, 0)
    print(*(sorted(one.problem["n"] for one in open_store(path).iter_sweeps()) for path in sys.argv[1:3]), sep="\\n")
"""


def test_workers_that_end_without_python_s_end_have_written_to_both_stores(quick_path: Path) -> None:
    script = quick_path.parent / "script.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{WORKERS}")
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    here, there = output_of(code, script, quick_path, quick_path.with_name("shared.db")).splitlines()
    assert json.loads(here) == json.loads(there) == [0, 1, 2, 3, 9]


END = """
import logging, sqlite3, sys, time
from tests.faults import calls
logging.basicConfig(format="%(message)s")
tuner = calls.tuner(store=sys.argv[1], shared=sys.argv[2])
calls.call(tuner, 0)
tuner.store.local.flush()
other = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
other.execute("BEGIN IMMEDIATE")
for n in (1, 2):
    calls.call(tuner, n)
print(time.time(), flush=True)
"""


def test_the_end_of_a_process_waits_once_for_all_stores_and_counts_what_they_did_not_take(
    quick_path: Path, allowance: Callable[[], float]
) -> None:
    with Silent() as silent:
        process = start(END, quick_path, silent.url())
        out, err = process.communicate(timeout=60)
        took = time.time() - float(out)
    assert took < wait_budget.CALL_S + 1.5 + allowance()
    assert re.search(r"could not be written to .* and are lost: 2\.", err)
    assert re.search(r"in the local store only: 3\. Run: tunedb sync", err)


def test_a_flush_says_whether_all_is_written(
    quick_path: Path, caplog: pytest.LogCaptureFixture, allowance: Callable[[], float]
) -> None:
    caplog.set_level(logging.ERROR, logger="tunedb")
    tunedb.configure(store=quick_path)
    open_store(str(quick_path)).close()
    done = sweep(1)
    with locked(quick_path):
        session.active().store.finish_sweep(done)
        begun = time.monotonic()
        assert not tunedb.flush(0.1)
        assert time.monotonic() - begun < 2 + allowance()
    assert tunedb.flush(10)
    session.active().store.finish_sweep(dataclasses.replace(done, uid="f" * 32))
    assert tunedb.flush(10)
    with open_store(str(quick_path)) as store:
        assert len(list(store.iter_sweeps())) == 2


def test_if_no_thread_can_be_started_calls_write_what_waits_one_by_one(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    world = World(quick_path)
    monkeypatch.setattr(threading.Thread, "start", start)
    world.finish()
    assert len(world.stored()) == 1
    world.happen("busy")
    begun = time.monotonic()
    for _ in range(5):
        world.finish()
        assert world.seen()
    assert time.monotonic() - begun < 5  # a busy store rests at once: nobody tries again meanwhile
    world.happen("free")
    world.happen("rest")
    world.finish()
    assert len(world.stored()) == 2
    assert world.guarded.flush()
    assert len(world.stored()) == 7
