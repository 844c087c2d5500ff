"""How long the sweep of a task will take, by former sweeps of its problem or its kernel on the same device."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunedb.core.kernel import ODD_FACTS
from tunedb.core.sweep import Sweep, SweepStatus
from tunedb.core.task import TuningTask

if TYPE_CHECKING:
    from tunedb.store import Store


@dataclass(frozen=True, slots=True)
class Expected:
    """The seconds that a sweep will take, and what says so; None and nothing if no sweep does."""

    seconds: float | None
    by: str | None


class FormerSeconds:
    """The seconds of a store's complete sweeps, read once for each kernel."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._last: dict[tuple[str, str, str], tuple[Sweep, float]] = {}  # by kernel, problem and device
        self._rates: dict[tuple[str, str], list[float]] = defaultdict(
            list
        )  # seconds for a config, by kernel and device
        self._read: set[str] = set()

    def expected(self, task: TuningTask, added: int = 0) -> Expected:
        """Return what the last sweep of this problem took; else its number of configs at the kernel's usual pace.

        added: the configs that came into the space since the last sweep, if only these are to be tried.
        """
        name, device = task.kernel.name, task.device.digest
        self._read_kernel(name)
        last = self._last.get((name, task.problem.digest, device))
        if last is not None and not added:
            return Expected(last[1], "its last sweep")
        rates, configs = self._rates.get((name, device)), added or configs_of(task)
        if not rates or not configs:
            return Expected(None, None)
        return Expected(configs * statistics.median(rates), "other sweeps of the kernel")

    def _read_kernel(self, name: str) -> None:
        if self._store is None or name in self._read:
            return
        self._read.add(name)
        for sweep in self._store.iter_sweeps(kernel=name):
            tried = sum(sweep.counts.values())
            if sweep.status != SweepStatus.TUNED or not sweep.complete or sweep.finished is None or not tried:
                continue
            seconds = (sweep.finished - sweep.started).total_seconds()
            if seconds <= 0:  # rows of other hosts may hold anything
                continue
            self._rates[name, sweep.device.digest].append(seconds / tried)
            key = name, sweep.problem.digest, sweep.device.digest
            if key not in self._last or self._last[key][0].started < sweep.started:
                self._last[key] = sweep, seconds


def configs_of(task: TuningTask) -> int:
    """Return the number of configs in a task's search space; 0 if its kernel makes no sense of the problem."""
    try:
        return len(task.kernel.space(task.problem, task.device))
    except ODD_FACTS:  # the sweep itself will say so
        return 0
