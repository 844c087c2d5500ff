"""A store that fails: calls go on, one record tells, and what could not be written is written later."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import DEVICE, FakeKernel, Notebook
from tests.store.samples import running
from tests.sweep.test_run import sweep
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreUnavailable
from tunedb.store import Store, open_store
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import BUSY_TIMEOUT_S, GuardedStore
from tunedb.store.writer import MAX_WAITING


class Broken:
    """A store that fails until it is mended."""

    def __init__(self, store: Store) -> None:
        self.store, self.is_broken, self.asked = store, True, 0

    def __getattr__(self, name: str) -> object:
        def method(*arguments: object) -> object:
            self.asked += 1
            if self.is_broken:
                raise StoreUnavailable("sqlite:///t.db is locked")
            return getattr(self.store, name)(*arguments)

        return method


@pytest.fixture
def done() -> Sweep:
    """A finished sweep."""
    return sweep({1: 9.0, 2: 5.0})


def looked_up(guarded: GuardedStore, done: Sweep) -> list[str]:
    return [found.uid for found in guarded.get_sweeps(done.problem, DEVICE, done.kernel_hash)]


def test_reads_of_a_broken_store_are_misses_and_one_record_tells(
    tmp_path: Path, done: Sweep, records: pytest.LogCaptureFixture
) -> None:
    broken = Broken(open_store(str(tmp_path / "t.db")))
    seconds = [0.0]
    guarded = GuardedStore("t.db", lambda: broken, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]
    for seconds[0] in (0, RETRY_AFTER_S + 1, 2 * RETRY_AFTER_S + 2):
        assert looked_up(guarded, done) == []
    assert broken.asked == 3
    assert [record.levelname for record in records.records] == ["WARNING"]
    assert "is locked" in records.text


def test_a_store_that_failed_is_left_alone_for_a_while(tmp_path: Path, done: Sweep) -> None:
    broken = Broken(open_store(str(tmp_path / "t.db")))
    seconds = [0.0]
    guarded = GuardedStore("t.db", lambda: broken, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]
    looked_up(guarded, done)
    seconds[0] = RETRY_AFTER_S - 1
    looked_up(guarded, done)
    assert broken.asked == 1
    seconds[0] = RETRY_AFTER_S + 1
    looked_up(guarded, done)
    assert broken.asked == 2


def test_what_was_tuned_meanwhile_answers_at_once_and_is_written_later(tmp_path: Path, done: Sweep) -> None:
    store = open_store(str(tmp_path / "t.db"))
    broken = Broken(store)
    seconds = [0.0]
    guarded = GuardedStore("t.db", lambda: broken, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]
    guarded.start_sweep(done)
    guarded.finish_sweep(done)
    assert not guarded.wait_until_written(done.uid)
    assert looked_up(guarded, done) == [done.uid]
    assert list(store.iter_sweeps()) == []
    broken.is_broken, seconds[0] = False, RETRY_AFTER_S + 1
    assert looked_up(guarded, done) == [done.uid]
    assert guarded.wait_until_written(done.uid)
    (stored,) = store.iter_sweeps(with_trials=True)
    assert {trial.uid for trial in stored.trials} == {trial.uid for trial in done.trials}


def test_at_exit_what_waits_is_written(tmp_path: Path, done: Sweep) -> None:
    store = open_store(str(tmp_path / "t.db"))
    broken = Broken(store)
    guarded = GuardedStore("t.db", lambda: broken, monotonic=lambda: 0.0)  # type: ignore[arg-type,return-value]
    guarded.finish_sweep(done)
    broken.is_broken = False
    guarded.close()
    assert [found.uid for found in store.iter_sweeps()] == [done.uid]


def test_what_waits_is_bounded_and_losses_are_logged_by_number(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    broken = Broken(open_store(str(tmp_path / "t.db")))
    guarded = GuardedStore("t.db", lambda: broken, monotonic=lambda: 0.0)  # type: ignore[arg-type,return-value]
    one = sweep({1: 9.0})
    for n in range(MAX_WAITING + 47):
        guarded.finish_sweep(replace(one, uid=f"{n:032x}"))
    guarded.writer.wait_until_written("")
    assert len(guarded.writer.waiting()) == MAX_WAITING
    guarded.writer.report()
    assert [record.levelname for record in records.records] == ["WARNING"] * 3  # the cause, the first loss, the number
    assert f"could not be written to t.db and are lost: {MAX_WAITING + 47}." in records.text


def test_another_process_that_holds_the_write_lock_delays_a_call_by_two_seconds_at_most(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    open_store(str(path)).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    guarded = GuardedStore(str(path), lambda: open_store(str(path), busy_timeout=BUSY_TIMEOUT_S))
    kernel = FakeKernel({block: float(block) for block in range(1, 20)})
    start = time.monotonic()
    done = sweep({}, kernel=kernel, notebook=_Through(guarded))
    assert looked_up(guarded, done) == [done.uid]
    waited = time.monotonic() - start
    other.execute("ROLLBACK")
    other.close()
    guarded.close()
    assert waited < 2
    assert [found.uid for found in open_store(str(path)).iter_sweeps()] == [done.uid]


class _Through(Notebook):
    """A notebook that hands on to a guarded."""

    def __init__(self, guarded: GuardedStore) -> None:
        super().__init__()
        self.start_sweep, self.put_trial, self.finish_sweep = (  # type: ignore[method-assign]
            guarded.start_sweep, guarded.put_trial, guarded.finish_sweep,
        )  # fmt: skip


def test_a_store_that_may_not_be_written_writes_nothing(tmp_path: Path, done: Sweep) -> None:
    store = open_store(str(tmp_path / "t.db"))
    guarded = GuardedStore("t.db", lambda: store, writable=False)
    guarded.start_sweep(done)
    guarded.finish_sweep(done)
    guarded.close()
    assert list(store.iter_sweeps(finished=False)) == []


def test_no_password_reaches_the_log(done: Sweep, records: pytest.LogCaptureFixture) -> None:
    def fail() -> Store:
        raise StoreUnavailable("postgresql://me:s3cret@host/db does not answer")

    guarded = GuardedStore("postgresql://me:s3cret@host/db", fail)
    assert looked_up(guarded, done) == []
    assert "s3cret" not in records.text
    assert "does not answer" in records.text


def test_a_sweep_that_no_store_can_hold_does_not_block_those_behind_it(
    tmp_path: Path, done: Sweep, records: pytest.LogCaptureFixture
) -> None:
    store = open_store(str(tmp_path / "t.db"))
    guarded = GuardedStore("t.db", lambda: store)
    guarded.finish_sweep(replace(done, uid="f" * 32, time_us=-1.0))
    guarded.finish_sweep(done)
    assert guarded.wait_until_written(done.uid)
    assert [found.uid for found in store.iter_sweeps()] == [done.uid]
    assert "can't be kept" in records.text


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[GuardedStore, threading.Event, list[str]]]:
    """A store that there is not yet, which is made once the event is set, and the threads that made it."""
    path, go_on, threads = tmp_path / "t.db", threading.Event(), list[str]()

    def opener() -> Store:
        threads.append(threading.current_thread().name)
        assert go_on.wait(60)
        return open_store(str(path))

    guarded = GuardedStore(str(path), opener, is_new=lambda: not path.exists())
    yield guarded, go_on, threads
    go_on.set()
    guarded.close()


def test_a_sweep_waits_for_the_store_that_it_makes_at_its_end_only(
    made: tuple[GuardedStore, threading.Event, list[str]], done: Sweep
) -> None:
    guarded, go_on, threads = made
    assert looked_up(guarded, done) == []
    guarded.start_sweep(running(done))
    for one in done.trials:
        guarded.put_trial(done.uid, one)
    guarded.finish_sweep(done)
    assert looked_up(guarded, done) == [done.uid]  # it waits in memory
    go_on.set()
    assert guarded.wait_until_written(done.uid)
    assert threads == ["tunedb-writer"]
    assert guarded._waiting(DEVICE, done.kernel_hash) == []
    assert looked_up(guarded, done) == [done.uid]


def test_what_a_store_that_is_made_needs_is_imported_on_its_thread_and_waited_for_at_the_end(
    tmp_path: Path, done: Sweep
) -> None:
    path, threads = tmp_path / "t.db", list[str]()
    guarded = GuardedStore(
        str(path),
        lambda: open_store(str(path)),
        load=lambda: threads.append(threading.current_thread().name),
        is_new=lambda: not path.exists(),
    )
    assert looked_up(guarded, done) == []
    guarded.finish_sweep(done)
    assert guarded.wait_until_written(done.uid)
    assert threads[0] == "tunedb-writer"
    assert set(threads[1:]) <= {threading.current_thread().name}
    guarded.close()


def test_a_store_that_can_not_be_made_is_logged_once_and_not_tried_at_each_read(
    done: Sweep, records: pytest.LogCaptureFixture
) -> None:
    tried, seconds = list[int](), [0.0]

    def opener() -> Store:
        tried.append(1)
        raise StoreUnavailable("the disk is full")

    guarded = GuardedStore("t.db", opener, is_new=lambda: True, monotonic=lambda: seconds[0])
    assert looked_up(guarded, done) == []
    assert guarded.writer._thread.submit(lambda: None).wait(60)
    assert looked_up(guarded, done) == []
    guarded.finish_sweep(done)
    assert not guarded.wait_until_written(done.uid)
    assert tried == [1]
    assert [record.levelname for record in records.records] == ["WARNING"]
    seconds[0] = RETRY_AFTER_S + 1
    looked_up(guarded, done)
    guarded.writer.wait_until_written(done.uid)
    assert len(tried) > 1


def test_the_part_before_is_written_when_the_next_one_comes(
    tmp_path: Path, done: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunedb.store.writer.TRIALS_S", 60.0)
    monkeypatch.setattr("tunedb.store.wait_budget.CALL_S", 60.0)
    store = open_store(str(tmp_path / "t.db"))
    guarded = GuardedStore("t.db", lambda: store)
    assert looked_up(guarded, done) == []  # opens it
    guarded.start_sweep(running(done))
    for written, one in enumerate(done.trials):
        guarded.put_trial(done.uid, one)
        (kept,) = store.iter_sweeps(with_trials=True, finished=False)
        assert len(kept.trials) in (written, written + 1)
    guarded.close()
