"""The clock behind a host that hands its launches over late, on a GPU that is made up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tunedb.bench import GpuClock
from tunedb.errors import TrialError

LAUNCHES = 10


class MadeUp(GpuClock):
    """Each launch takes 100 us; one that is late, as the test says, by so many microseconds more."""

    def __init__(self, delays: Iterator[float]) -> None:
        self.delays, self.launches, self.idle_us = delays, 0, 0

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
