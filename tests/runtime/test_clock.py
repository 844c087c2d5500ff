"""The clock behind a host that hands its launches over late, on a GPU that is made up."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tunedb.errors import TrialError
from tunedb.runtime.clock import GpuClock

LAUNCHES = 10


class MadeUp(GpuClock):
    """Each launch takes 100 us; one that is late, as the test says, by so many microseconds more."""

    def __init__(self, delays: Iterator[float]) -> None:
        self.delays, self.launches, self.idle_us, self._lead, self._calls = delays, 0, 0, 0, 0

    def _run(self, launch: Callable[[], object], count: int, lead: int, taken: list[float], late: list[float]) -> None:
        self.launches += count
        self.idle_us += lead * count
        for delay in [next(self.delays) for _ in range(count)]:
            (late if delay else taken).append(100.0 + delay)


def test_what_comes_late_is_taken_again_and_nothing_else() -> None:
    clock = MadeUp(iter([0.0, 30.0] * (LAUNCHES // 2) + [0.0] * LAUNCHES))
    assert clock.sample(lambda: None, LAUNCHES) == [100.0] * LAUNCHES
    assert clock.launches == LAUNCHES + LAUNCHES // 2


def test_a_host_that_is_always_late_costs_three_more_tries_and_its_least_delays_count() -> None:
    clock = MadeUp(float(delay) for delay in range(1000, 0, -1))
    assert clock.sample(lambda: None, LAUNCHES) == pytest.approx([1061.0 + late for late in range(LAUNCHES)])
    assert clock.launches == 4 * LAUNCHES
    assert clock.idle_us < LAUNCHES * 25_000


def test_other_threads_give_way_while_samples_are_taken_and_not_after() -> None:
    before = sys.getswitchinterval()
    seen = []

    class Looking(MadeUp):
        def _run(self, *arguments: Any) -> None:
            seen.append(sys.getswitchinterval())
            super()._run(*arguments)

    Looking(iter([0.0] * LAUNCHES)).sample(lambda: None, LAUNCHES)
    with pytest.raises(TrialError):
        Looking(iter([])).sample(lambda: None, LAUNCHES)
    assert max(seen) < before / 10
    assert sys.getswitchinterval() == before


def test_two_that_sample_at_once_leave_the_interval_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.getswitchinterval()
    first, second = threading.Event(), threading.Event()

    class Waiting(MadeUp):
        def _run(self, *arguments: Any) -> None:
            if first.is_set():
                second.set()  # the second one is inside, and is the last to end
                ended.wait(20)
            else:
                first.set()
                second.wait(20)
            super()._run(*arguments)

    def take() -> None:
        Waiting(iter([0.0] * LAUNCHES)).sample(lambda: None, LAUNCHES)

    ended = threading.Event()
    threads = [threading.Thread(target=take), threading.Thread(target=take)]
    threads[0].start()
    first.wait(20)
    threads[1].start()
    threads[0].join(20)
    assert sys.getswitchinterval() < before / 10
    ended.set()
    threads[1].join(20)
    assert sys.getswitchinterval() == before


def test_a_child_forked_meanwhile_has_the_interval_as_it_was() -> None:
    before = sys.getswitchinterval()

    class Forking(MadeUp):
        def _run(self, *arguments: Any) -> None:
            child = os.fork()
            if not child:
                os._exit(0 if sys.getswitchinterval() == before else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            super()._run(*arguments)

    Forking(iter([0.0] * LAUNCHES)).sample(lambda: None, LAUNCHES)


def test_a_host_that_was_late_gets_a_lead_from_the_beginning_the_next_time() -> None:
    clock = MadeUp(iter([30.0] * 2 * LAUNCHES + [0.0] * 2 * LAUNCHES))
    clock.sample(lambda: None, LAUNCHES)
    assert clock.launches == 3 * LAUNCHES
    clock.sample(lambda: None, LAUNCHES)
    assert clock.launches == 4 * LAUNCHES


def test_a_shorter_lead_is_tried_now_and_then() -> None:
    clock = MadeUp(iter([30.0] * LAUNCHES + [0.0] * 100 * LAUNCHES))
    for _ in range(30):
        clock.sample(lambda: None, LAUNCHES)
    assert clock.idle_us < 10 * LAUNCHES * 200
    assert clock.launches == 31 * LAUNCHES
