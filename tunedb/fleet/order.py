"""The order of many problems: the longest first, by the seconds of former sweeps, or else by an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tunedb.core.task import TaskKey, TuningTask
from tunedb.tuner.former_seconds import FormerSeconds, configs_of

if TYPE_CHECKING:
    from tunedb.store import Store

# Of a kernel that was never swept on the device. Twelve pooling problems took 37 s for 124 configs on an H200
# (benchmarks/results/sweep-h200.json).
SECONDS_A_CONFIG = 0.3


def expected_seconds(tasks: Sequence[TuningTask], store: Store) -> dict[TaskKey, float]:
    """Return how long the sweep of each task will take: by former sweeps, or else by its number of configs."""
    former = FormerSeconds(store)
    expected = {}
    for task in tasks:
        seconds = former.expected(task).seconds
        expected[task.key] = configs_of(task) * SECONDS_A_CONFIG if seconds is None else seconds
    return expected


def longest_first(tasks: Iterable[TuningTask], seconds: Mapping[TaskKey, float]) -> list[TuningTask]:
    """Return the tasks, the longest first; equal ones stay in their order."""
    return sorted(tasks, key=lambda task: -seconds[task.key])
