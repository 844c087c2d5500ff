"""The threads on which stores are accessed, and the budget within which calls wait for them."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable

import pytest

from tests.threads import eventually
from tunedb.store import store_thread, wait_budget
from tunedb.store.store_thread import GIVE_UP_S, MAX_GIVEN_UP, StoreThread
from tunedb.store.wait_budget import WaitBudget


class Hanging:
    """Work that hangs until it is let go."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.began.set()
        self.go_on.wait(30)
        return "late"


def test_work_is_done_in_its_order_on_another_thread() -> None:
    thread, done = StoreThread("t"), list[object]()
    jobs = [thread.submit(lambda n=n: done.append((n, threading.current_thread().name))) for n in range(5)]
    assert jobs[-1].wait(10)
    assert done == [(n, "t") for n in range(5)]


def test_an_access_that_hangs_is_given_up_and_the_next_ones_are_done() -> None:
    seconds, hanging = [0.0], Hanging()
    thread = StoreThread("t", lambda: seconds[0])
    first = thread.submit(hanging)
    hanging.began.wait(10)
    behind = thread.submit(lambda: "behind")
    assert not behind.wait(0.05)
    seconds[0] = GIVE_UP_S
    assert thread.submit(lambda: "next").wait(10)
    assert behind.value == "behind"
    hanging.go_on.set()
    assert first.wait(10)
    assert first.value == "late"
    assert eventually(lambda: thread._given_up == 0)


def test_threads_that_hang_are_bounded() -> None:
    seconds, hanging = [0.0], [Hanging() for _ in range(MAX_GIVEN_UP + 3)]
    thread = StoreThread("bounded", lambda: seconds[0])
    for one in hanging:
        thread.submit(one)
        one.began.wait(0.1)
        seconds[0] += GIVE_UP_S
    assert sum(one.name == "bounded" for one in threading.enumerate()) <= MAX_GIVEN_UP + 1
    for one in hanging:
        one.go_on.set()
    assert thread.submit(lambda: None).wait(10)


def test_work_whose_caller_went_on_is_not_begun() -> None:
    thread, hanging, done = StoreThread("t"), Hanging(), list[int]()
    thread.submit(hanging)
    job = thread.submit(lambda: done.append(1))
    job.cancel()
    hanging.go_on.set()
    assert job.wait(10)
    assert done == []


def test_if_no_thread_can_be_started_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    thread = StoreThread("t")
    monkeypatch.setattr(threading.Thread, "start", start)
    job = thread.submit(threading.get_ident)
    assert job.wait(0)
    assert job.value == threading.get_ident()
    monkeypatch.undo()
    other = thread.submit(threading.get_ident)
    assert other.wait(10)
    assert other.value != threading.get_ident()


def test_an_unexpected_error_ends_no_thread(records: pytest.LogCaptureFixture) -> None:
    thread = StoreThread("t")
    thread.submit(lambda: 1 // 0)
    assert thread.submit(lambda: None).wait(10)
    assert "failed unexpectedly" in records.text


def test_a_fork_waits_for_all_accesses_together_and_the_child_has_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch, allowance: Callable[[], float]
) -> None:
    monkeypatch.setattr(store_thread, "FORK_S", 0.2)
    threads, hanging = [StoreThread(f"t{n}") for n in range(4)], [Hanging() for _ in range(4)]
    for thread, one in zip(threads, hanging, strict=True):
        thread.submit(one)
        one.began.wait(10)
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process with threads
        child = os.fork()
    if child == 0:
        job = threads[0].submit(lambda: 1)
        os._exit(0 if job.wait(5) else 1)
    assert time.monotonic() - start < 4 * 0.2 + allowance()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for one in hanging:
        one.go_on.set()
    assert all(thread.submit(lambda: None).wait(10) for thread in threads)


def test_all_accesses_of_a_call_and_of_calls_within_it_have_one_budget() -> None:
    thread, hanging = StoreThread("t"), Hanging()
    job, start = thread.submit(hanging), time.monotonic()
    with wait_budget.one_call(0.1):
        for _ in range(3):
            assert not wait_budget.current().wait(job)
            with wait_budget.one_call(30):
                assert not wait_budget.current().wait(job)
        assert wait_budget.current().left <= 0
    assert 0.1 <= time.monotonic() - start < 5
    assert wait_budget.current().left == wait_budget.CALL_S  # the next call's
    hanging.go_on.set()


def test_a_wait_takes_what_it_took_from_the_budget() -> None:
    seconds = [0.0]

    class Work:
        def wait(self, most: float) -> bool:
            seconds[0] += min(most, 0.7)
            return most > 0.7

    budget = WaitBudget(2.0, lambda: seconds[0])
    assert [budget.wait(Work()), budget.wait(Work(), 0.5), budget.wait(Work()), budget.wait(Work())] == [
        True, False, True, False,
    ]  # fmt: skip
    assert budget.left == pytest.approx(0)
