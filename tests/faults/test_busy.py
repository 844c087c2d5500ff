"""Another process that holds the store: a call waits two seconds at most, and its row is stored later."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeKernel
from tests.faults import calls
from tests.faults.parts import start
from tests.store.samples import DEVICE, HASH, running, sweep, trial
from tunedb.core.sweep import UsageCount
from tunedb.errors import TrialError
from tunedb.store import Store, open_store
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import BUSY_TIMEOUT_S, GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.wait_budget import CALL_S
from tunedb.store.writer import TRIALS_S
from tunedb.tuner.problem_lock import MAX_KEEP_S

BOUND = CALL_S + 0.5  # seconds, with what a loaded machine takes for the rest of a call

# What another process does for a minute: hold the write lock, all locks, or the lock of those who open the store.
HOLD = {
    "the write lock": "connection.execute('BEGIN IMMEDIATE')",
    "every lock": "connection.execute('BEGIN EXCLUSIVE')",
    "the opening": "lock = filelock.FileLock(sys.argv[1] + '.lock'); lock.acquire()",
}
HOLDER = """
import filelock, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
{}
print("held", flush=True)
time.sleep(60)
"""

# It writes in bursts, with gaps in which we get in: no single wait is long enough to be a failure.
BURSTS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
print("held", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(0.3)
    connection.execute("COMMIT")
    time.sleep(0.05)
"""


@contextlib.contextmanager
def held(path: Path, code: str) -> Iterator[None]:
    """Another process holds the store."""
    process = start(code, path)
    assert process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("what", HOLD)
def test_a_call_waits_two_seconds_at_most_for_a_process_that_holds_the_store_for_a_minute(
    what: str, is_new: bool, tmp_path: Path, records: pytest.LogCaptureFixture, allowance: Callable[[], float]
) -> None:
    import alembic.command  # noqa: F401 (loading it is no wait)

    path = tmp_path / "store.db"
    if not is_new:
        open_store(str(path)).close()
    seconds = [0.0]
    guarded = GuardedStore(
        str(path), lambda: open_store(str(path), busy_timeout=BUSY_TIMEOUT_S), monotonic=lambda: seconds[0]
    )
    tuner = calls.tuner(LayeredStore(guarded), store=str(path))
    with held(path, HOLDER.format(HOLD[what])):
        if is_new:
            assert path.stat().st_size == 0
        first, second = calls.call(tuner, 1), calls.call(tuner, 2)
    assert [(block, source) for block, source, _, _ in (first, second)] == [(2, "sweep")] * 2
    assert first[-1] < BOUND + allowance()
    assert (
        second[-1] < (BOUND if what == "every lock" else 1) + allowance()
    )  # the first may have read the store already
    # A wait for SQLite ends as a busy store, or on a loaded machine as one that gives no answer.
    causes = [record.args[1] for record in records.records if record.levelname == "WARNING"]  # type: ignore[index]
    assert len(causes) == len(set(causes)) <= 2
    seconds[0] += RETRY_AFTER_S + 1
    assert calls.call(tuner, 3)[:2] == (2, "sweep")
    with open_store(str(path)) as store:
        assert [len(one.trials) for one in store.iter_sweeps(finished=False, with_trials=True)] == [3] * 3
    tuner.close()


def test_a_result_that_comes_late_into_a_busy_store_is_waited_for_and_not_swept_again(
    tmp_path: Path, allowance: Callable[[], float]
) -> None:
    path = tmp_path / "store.db"
    first, second = calls.tuner(store=str(path)), calls.tuner(store=str(path))
    assert calls.call(first, 0)[1] == "sweep"
    with held(path, HOLDER.format(HOLD["the write lock"])):
        block, source, _, seconds = calls.call(first, 1)
        assert (block, source) == (2, "sweep")
        assert seconds < BOUND + allowance()
        assert list(second.store.get_sweeps(FakeKernel(calls.TIMES).problem(n=1), DEVICE, HASH)) == []
    assert calls.call(second, 1)[:3] == (2, "store", [])
    assert calls.call(first, 2)[1] == "sweep"
    with open_store(str(path)) as store:  # the store takes results again, without a rest
        assert len(list(store.iter_sweeps())) == 3
    first.close()
    second.close()


def test_a_neighbour_that_writes_in_bursts_can_not_add_up_waits_over_the_trials_of_a_sweep(
    tmp_path: Path, allowance: Callable[[], float]
) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    guarded = GuardedStore(str(path), lambda: open_store(str(path), busy_timeout=BUSY_TIMEOUT_S))
    done = sweep(trials=[trial(block) for block in range(30)])
    with held(path, BURSTS):
        begun = time.monotonic()
        guarded.start_sweep(running(done))
        for one in done.trials:
            guarded.put_trial(done.uid, one)
        assert time.monotonic() - begun < TRIALS_S + BUSY_TIMEOUT_S + 0.5 + allowance()
        guarded.finish_sweep(done)
    guarded.close()
    assert len(open_store(str(path)).get_sweep(done.uid).trials) == 30


class Failing:
    """A store whose methods fail for as long as they are named."""

    def __init__(self, store: Store, *names: str, slow: Callable[[], None] = lambda: None) -> None:
        self.store, self.names, self.slow, self.asked = store, set(names), slow, list[str]()

    def __getattr__(self, name: str) -> object:
        def method(*arguments: object) -> object:
            self.asked.append(name)
            self.slow()
            if name in self.names:
                raise OSError(f"{name} fails")
            return getattr(self.store, name)(*arguments)

        return method


def test_a_trial_that_could_not_be_written_keeps_no_result_from_those_who_wait_for_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    failing = Failing(store, "start_sweep")
    guarded = GuardedStore("s.db", lambda: failing)  # type: ignore[arg-type,return-value]
    done = sweep()
    guarded.start_sweep(running(done))
    assert guarded.writer._thread.submit(lambda: None).wait(60)
    for one in done.trials:
        guarded.put_trial(done.uid, one)
    guarded.finish_sweep(done)
    assert guarded.wait_until_written(done.uid)
    assert store.get_sweep(done.uid) == done
    assert failing.asked == ["start_sweep", "finish_sweep"]


def test_a_thread_that_waited_for_a_sweep_in_vain_is_not_held_up_by_its_late_result(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    tuner, blocks, found = calls.tuner(store=str(path)), list[int](), list[tuple[int, str, float]]()

    def fail(block: int) -> None:
        blocks.append(block)
        time.sleep(0.2)  # so that the other thread comes meanwhile
        raise TrialError("compile_error", "as planted")

    def work() -> None:
        block, source, _, seconds = calls.call(tuner, 1, fail)
        found.append((block, source, seconds))

    with held(path, HOLDER.format(HOLD["the write lock"])):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(blocks) == sorted(calls.TIMES)  # swept once
    assert [(block, source) for block, source, _ in found] == [(1, "default")] * 2
    assert max(seconds for *_, seconds in found) < MAX_KEEP_S / 2
    tuner.close()


def test_a_result_that_no_wait_will_get_written_keeps_nobody_out(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    guarded = GuardedStore("s.db", lambda: Failing(store, "finish_sweep"))  # type: ignore[arg-type,return-value]
    done = sweep()
    guarded.finish_sweep(done)
    assert not guarded.wait_until_written(done.uid)
    assert guarded.is_settled(done.uid)
    assert guarded.get_sweeps(done.problem, DEVICE, HASH) == [done]  # it waits on in memory


def test_trials_of_a_sweep_whose_start_was_lost_are_no_failure_of_a_store_that_is_well_again(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    store = open_store(str(tmp_path / "store.db"))
    failing, seconds = Failing(store, "start_sweep"), [0.0]
    guarded = GuardedStore("s.db", lambda: failing, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]
    done = sweep()
    guarded.start_sweep(running(done))
    seconds[0] += RETRY_AFTER_S + 1  # a long sweep
    for one in done.trials:
        guarded.put_trial(done.uid, one)
    guarded.finish_sweep(done)
    assert guarded.wait_until_written(done.uid)
    assert store.get_sweep(done.uid) == done
    assert "is running in" not in records.text


def test_a_write_that_failed_stops_no_look_up(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    known, done = sweep(1), sweep(2)
    store.put_sweep(known)
    guarded = GuardedStore("s.db", lambda: Failing(store, "finish_sweep", "add_usage"))  # type: ignore[arg-type,return-value]
    guarded.finish_sweep(done)
    guarded.add_usage([UsageCount(known.problem, DEVICE, "default", 1, known.started, known.started)])
    assert [one.uid for one in guarded.get_sweeps(known.problem, DEVICE, HASH)] == [known.uid]
    assert [one.uid for one in guarded.get_sweeps(done.problem, DEVICE, HASH)] == [done.uid]
