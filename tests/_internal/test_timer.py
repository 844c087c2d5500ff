"""The re-arming timer: when its action runs, and what an error, a close and a fork do to it."""

from __future__ import annotations

import os
import queue
import threading

import pytest

from tests.conftest import end_timers
from tunedb._internal.timer import RearmingTimer


def test_it_runs_once_for_each_arming_unless_the_action_wants_more() -> None:
    wishes, runs = iter([True, True, False]), queue.Queue[int]()

    def act() -> bool:
        runs.put(1)
        return next(wishes)

    timer = RearmingTimer(0.01, act)
    timer.arm()
    timer.arm()  # it is planned already
    for _ in range(3):
        runs.get(timeout=10)
    with pytest.raises(queue.Empty):
        runs.get(timeout=0.1)


def test_what_is_armed_during_the_action_runs_afterwards() -> None:
    runs: queue.Queue[int] = queue.Queue()

    def act() -> bool:
        runs.put(1)
        if runs.qsize() == 1:
            timer.arm()
        return False

    timer = RearmingTimer(0.01, act)
    timer.arm()
    deadline = threading.Event()
    for _ in range(1000):
        if runs.qsize() == 2:
            break
        deadline.wait(0.01)
    assert runs.qsize() == 2


def test_an_error_is_logged_and_the_action_runs_again(records: pytest.LogCaptureFixture) -> None:
    runs: queue.Queue[int] = queue.Queue()

    def act() -> bool:
        runs.put(1)
        if runs.qsize() == 1:
            raise OSError("the store is away")
        return False

    timer = RearmingTimer(0.01, act)
    timer.arm()
    for _ in range(1000):
        if runs.qsize() == 2:
            break
        threading.Event().wait(0.01)
    assert runs.qsize() == 2
    assert "the store is away" in records.text


def test_a_closed_timer_never_runs() -> None:
    runs: list[int] = []
    timer = RearmingTimer(0.01, lambda: bool(runs.append(1)))
    timer.arm()
    timer.close()
    timer.arm()
    threading.Event().wait(0.1)
    assert runs == []


def test_a_timer_that_a_test_leaves_is_ended_and_can_be_armed_again() -> None:
    runs: queue.Queue[int] = queue.Queue()
    timer = RearmingTimer(0.2, lambda: bool(runs.put(1)))
    timer.arm()
    end_timers()
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    with pytest.raises(queue.Empty):
        runs.get(timeout=0.4)
    timer.arm()
    runs.get(timeout=10)


def test_a_process_without_threads_to_spare_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    runs: queue.Queue[int] = queue.Queue()
    timer = RearmingTimer(0.01, lambda: bool(runs.put(1)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", refuse)
        timer.arm()
    timer.arm()
    runs.get(timeout=10)


def test_a_forked_child_has_no_thread_until_the_timer_is_armed_in_it() -> None:
    reader, writer = os.pipe()
    timer = RearmingTimer(0.05, lambda: bool(os.write(writer, b"%d " % os.getpid())) and False)
    timer.arm()
    child = os.fork()
    if child == 0:
        timer.renew()
        if threading.active_count() == 1:
            timer.arm()
            threading.Event().wait(5)
        os._exit(0)
    ran = b""
    while ran.count(b" ") < 2:
        ran += os.read(reader, 100)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert set(map(int, ran.split())) == {os.getpid(), child}
