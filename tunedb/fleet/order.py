"""The order of many problems: the longest first, by the seconds of former sweeps, or else by an estimate."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunedb.core.sweep import Sweep, SweepStatus
from tunedb.core.task import TaskKey, TuningTask
from tunedb.tuner.pending import ODD_FACTS

if TYPE_CHECKING:
    from tunedb.store import Store

SECONDS_A_CONFIG = 0.1  # of a kernel that was never swept: only the ratios of such estimates matter


def expected_seconds(tasks: Sequence[TuningTask], store: Store) -> dict[TaskKey, float]:
    """Return how long the sweep of each task will take: as long as its last one, on its device if there was one.

    Others take a kernel's usual seconds for a config, times their configs.
    """
    sizes = {task.key: _configs(task) for task in tasks}
    last: dict[tuple[str, str], Sweep] = {}  # of a problem: on that device, or on any
    rates: dict[str, list[float]] = {}  # seconds for a config, by kernel
    for name in {task.kernel.name for task in tasks}:
        for sweep in store.iter_sweeps(kernel=name):
            seconds, tried = _seconds(sweep), sum(sweep.counts.values())
            if seconds is None or not tried:
                continue
            rates.setdefault(name, []).append(seconds / tried)
            for device in (sweep.device.digest, ""):
                key = sweep.problem.digest, device
                if key not in last or last[key].started < sweep.started:
                    last[key] = sweep
    expected = {}
    for task in tasks:
        digest, name = task.problem.digest, task.kernel.name
        former = last.get((digest, task.device.digest)) or last.get((digest, ""))
        rate = statistics.median(rates[name]) if name in rates else SECONDS_A_CONFIG
        expected[task.key] = (None if former is None else _seconds(former)) or sizes[task.key] * rate
    return expected


def longest_first(tasks: Iterable[TuningTask], seconds: Mapping[TaskKey, float]) -> list[TuningTask]:
    """Return the tasks, those first that will take longest; equal ones stay in their order."""
    return sorted(tasks, key=lambda task: -seconds[task.key])


def _configs(task: TuningTask) -> int:
    try:
        return len(task.kernel.space(task.problem, task.device))
    except ODD_FACTS:  # its worker will say so
        return 0


def _seconds(sweep: Sweep) -> float | None:
    if sweep.status != SweepStatus.TUNED or not sweep.complete or sweep.finished is None:
        return None
    seconds = (sweep.finished - sweep.started).total_seconds()
    return seconds if seconds > 0 else None  # rows of other hosts may hold anything
