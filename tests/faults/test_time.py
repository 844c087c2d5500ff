"""Stores that are slow, hang or fall silent: a call waits for all of them within one budget, whatever they do."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import calls
from tests.store.samples import DEVICE, HASH, running, sweep
from tests.threads import errors_at_once, eventually
from tunedb.errors import StoreUnavailable
from tunedb.store import Store, open_store, wait_budget
from tunedb.store import guarded as guarded_module
from tunedb.store import writer as writer_module
from tunedb.store.breaker import RETRY_AFTER_S
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.shared import MAX_UNSENT, SharedStore
from tunedb.store.store_thread import GIVE_UP_S
from tunedb.store.wait_budget import WaitBudget

SCALE = 20  # the limits of these tests are so many times shorter
MARGIN_S = 0.15  # that a call may take longer

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(autouse=True)
def spent(monkeypatch: pytest.MonkeyPatch, allowance: Callable[[], float]) -> Iterator[list[WaitBudget]]:
    """Shorter limits, and the budgets of the calls."""
    budgets = list[WaitBudget]()

    class Counted(WaitBudget):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds)
            budgets.append(self)

    for module, name in (
        (wait_budget, "CALL_S"),
        (guarded_module, "CALL_S"),
        (guarded_module, "READ_S"),
        (writer_module, "RESULT_S"),
        (writer_module, "TRIALS_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / SCALE)
    monkeypatch.setattr(wait_budget, "WaitBudget", Counted)
    yield budgets
    assert min((budget.left for budget in budgets), default=0.0) > -MARGIN_S - allowance()


class Slow:
    """A store whose accesses take as long as the test says; none may be on a caller's thread."""

    def __init__(self, store: Store, seconds: Callable[[str], float]) -> None:
        self._store, self._seconds, self.log = store, seconds, list[str]()

    def __getattr__(self, name: str) -> object:
        def method(*arguments: object) -> object:
            assert threading.current_thread().name.startswith("tunedb-")
            self.log.append(name)
            time.sleep(self._seconds(name))
            return getattr(self._store, name)(*arguments)

        return method


def guarded_on(store: Store, seconds: Callable[[str], float]) -> GuardedStore:
    slow = Slow(store, seconds)
    return GuardedStore("s.db", lambda: slow)  # type: ignore[arg-type,return-value]


def count_of(store: Store) -> int:
    return len(list(store.iter_sweeps()))


@pytest.mark.parametrize("commit_s", [0.02, 0.2])
def test_a_slow_disk_keeps_no_call_waiting_beyond_its_budget_and_every_result_is_written(
    commit_s: float, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "store.db"))
    slow = {"start_sweep", "put_trial", "finish_sweep", "add_usage"}
    guarded = guarded_on(store, lambda name: commit_s if name in slow else 0.0)
    tuner = calls.tuner(LayeredStore(guarded), store=str(tmp_path / "store.db"))
    for n in range(4):
        assert calls.call(tuner, n)[:2] == (2, "sweep")
    assert eventually(lambda: count_of(store) == 4, 60)


@pytest.mark.parametrize("seed", range(2))
def test_threads_wait_within_their_budgets_whatever_the_store_does(seed: int, tmp_path: Path) -> None:
    store, rng = open_store(str(tmp_path / "store.db")), random.Random(seed)
    guarded = guarded_on(store, lambda _: rng.choice([0.0, 0.0, 0.01, 0.03, 0.4]))
    tuner, blocks = calls.tuner(LayeredStore(guarded), store=str(tmp_path / "store.db")), list[int]()

    def work(number: int) -> None:
        blocks.extend(calls.call(tuner, 100 * number + n)[0] for n in range(3))

    assert errors_at_once(8, work) == []
    assert len(blocks) == 24
    assert set(blocks) <= set(calls.TIMES)
    assert eventually(lambda: not guarded.writer.waiting() or guarded.flush(), 60)


def test_one_slow_trial_spares_the_other_calls_the_same_wait(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    guarded = guarded_on(store, lambda name: 0.1 if name == "start_sweep" else 0.0)
    guarded.get_marks_of([])  # opens it
    for n in range(5):
        done = sweep(n)
        guarded.start_sweep(running(done))
        guarded.put_trial(done.uid, done.trials[0])
    assert eventually(lambda: guarded.writer._thread.unfinished() == 0)
    assert guarded._store._store.log.count("start_sweep") == 1  # type: ignore[union-attr]


@pytest.mark.usefixtures("patience")
def test_no_thread_waits_for_a_store_while_others_wait_for_it_to_end_its_sweep(tmp_path: Path) -> None:
    """Else their waits would add up. Only the trials are written meanwhile, which has a limit for all threads."""
    tuner = calls.tuner(store=str(tmp_path / "store.db"))
    lock, seen = tuner._sweeper._one_sweep, dict[str, bool]()

    def watch(owner: object, name: str) -> None:
        method = getattr(owner, name)

        def watched(*arguments: object, **keywords: object) -> object:
            seen[name] = seen.get(name, False) or lock._is_owned()  # type: ignore[attr-defined]  # of a reentrant lock
            return method(*arguments, **keywords)

        setattr(owner, name, watched)

    for name in ("get_sweeps", "get_kernel_sweeps", "get_unfinished", "wait_until_written", "put_trial"):
        watch(tuner.store, name)
    calls.call(tuner, 1)
    tuner.close()
    assert seen.pop("put_trial")
    assert seen == dict.fromkeys(("get_sweeps", "get_kernel_sweeps", "get_unfinished", "wait_until_written"), False)


def test_a_read_that_hangs_costs_one_call_its_wait_and_the_next_ones_nothing(
    tmp_path: Path, spent: list[WaitBudget], records: pytest.LogCaptureFixture
) -> None:
    store, go_on, seconds = open_store(str(tmp_path / "store.db")), threading.Event(), [0.0]
    done = sweep(1)
    store.put_sweep(done)

    class Hanging:
        def get_sweeps(self, *arguments: object) -> object:
            hangs = not go_on.is_set()
            go_on.wait(30)
            return [] if hangs else store.get_sweeps(*arguments)  # type: ignore[arg-type]

    hanging = Hanging()
    guarded = GuardedStore("s.db", lambda: hanging, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]
    for _ in range(5):
        with wait_budget.one_call():
            assert guarded.get_sweeps(done.problem, DEVICE, HASH) == []
    assert [budget.left < wait_budget.CALL_S / 2 for budget in spent] == [True] + [False] * 4
    assert records.text.count("No answer within") == 1
    seconds[0] += max(RETRY_AFTER_S, GIVE_UP_S) + 1
    threading.Timer(0.02, go_on.set).start()  # another thread than the one that hangs asks
    assert eventually(lambda: guarded.get_sweeps(done.problem, DEVICE, HASH) or guarded._breaker.reset())


def test_a_statement_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "store.db")
    monkeypatch.setattr("tunedb.store.sql.engine.STATEMENT_S", 0.05)
    with (
        open_store(path, busy_timeout=0.025) as store,
        pytest.raises(StoreUnavailable, match="interrupt"),
        store._access.read() as connection,
    ):
        connection.exec_driver_sql(ENDLESS)
    with open_store(path) as store, store._access.read() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # a command has no such limit: it may take its time
        assert driver.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) "
                              "SELECT count(*) FROM n").fetchone() == (300000,)  # fmt: skip


class Remote:
    """A shared store that falls silent, refuses writes, or counts them."""

    def __init__(self) -> None:
        self.silent: threading.Event | None = None
        self.refuses, self.sent = False, list[str]()

    def get_newest(self, kernel: str, *_: object) -> tuple[list[object], bool]:
        self._answer()
        return [sweep(1)], True

    def put_sweep(self, done: object) -> bool:
        self._answer()
        if self.refuses:
            raise StoreUnavailable("permission denied")
        self.sent.append(done.uid)  # type: ignore[attr-defined]
        return True

    def _answer(self) -> None:
        silent = self.silent
        if silent is not None:
            silent.wait(30)
            raise StoreUnavailable("the connection was lost")


def shared_on(remote: Remote, seconds: list[float]) -> SharedStore:
    return SharedStore("remote", lambda: remote, deadline=0.05, monotonic=lambda: seconds[0])  # type: ignore[arg-type,return-value]


def test_a_connection_that_fell_silent_is_given_up_and_the_store_used_again() -> None:
    remote, seconds, done = Remote(), [0.0], sweep(1)
    shared = shared_on(remote, seconds)
    remote.silent = silent = threading.Event()
    assert shared.get_sweeps(done.problem, DEVICE, HASH) == []
    remote.silent = None  # the network is well again, but that connection never hears of it
    seconds[0] += max(RETRY_AFTER_S, GIVE_UP_S)
    assert eventually(lambda: shared.get_sweeps(done.problem, DEVICE, HASH))
    silent.set()


def test_what_is_on_its_way_to_a_silent_store_is_bounded_and_the_rest_is_counted(
    records: pytest.LogCaptureFixture,
) -> None:
    remote, seconds = Remote(), [0.0]
    shared = shared_on(remote, seconds)
    remote.silent = silent = threading.Event()
    done = sweep(1)
    for _ in range(MAX_UNSENT + 35):
        shared.finish_sweep(done)
    assert shared._sender.unfinished() <= MAX_UNSENT
    shared.report()
    assert f"in the local store only: {MAX_UNSENT + 35}. Run: tunedb sync" in records.text
    remote.silent = None
    silent.set()
    assert eventually(lambda: shared._sender.unfinished() == 0)
    seconds[0] += RETRY_AFTER_S
    shared.finish_sweep(done)
    assert eventually(lambda: remote.sent == [done.uid])


def test_a_shared_store_that_refuses_writes_is_read_all_the_same() -> None:
    remote, seconds, done = Remote(), [0.0], sweep(1)
    shared = shared_on(remote, seconds)
    remote.refuses = True
    shared.finish_sweep(done)
    assert eventually(lambda: shared._writes.is_open)
    assert eventually(lambda: len(shared.get_sweeps(done.problem, DEVICE, HASH)) == 1)
