"""The run of many tasks: what its slots share, and how a slot has one task tuned, or passes over it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import TaskKey, TuningTask
from tunedb.errors import SweepError
from tunedb.fleet.order import longest_first
from tunedb.fleet.queue import TaskQueue
from tunedb.fleet.slots import Slot
from tunedb.settings import Settings
from tunedb.sweep.observer import Observer
from tunedb.worker.supervisor import MAX_STEP_S

if TYPE_CHECKING:
    from tunedb.core.problem import Config
    from tunedb.fleet.copy_rates import CopyRateRun
    from tunedb.store import Store

MIN_BUDGET_S = 0.1  # of a task that was taken just before the budget was spent
BUSY, STORED = "busy", "stored"  # of `child.tune_task`
LOST = "lost"  # no slot or worker is left for the task


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: a word of `child.tune_task` or LOST, the sweep behind it, and why it is lost."""

    task: TuningTask
    word: str
    sweep: Sweep | None
    why: str | None = None


class HostObserver(Protocol):
    """An observer of a run. It is called on one thread only."""

    def begins(self, slot: Slot, task: TuningTask) -> None:
        """A slot takes a task."""

    def started(self, slot: Slot, candidates: int) -> None:
        """The sweep of the slot's task starts, with so many configs."""

    def tried(self, slot: Slot, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """A trial ended; these are the best time and the default's so far."""

    def passed_over(self, slot: Slot, task: TuningTask) -> None:
        """The slot's task is tuned elsewhere, and is looked at again later."""

    def done(self, slot: Slot, outcome: Outcome) -> None:
        """The slot's task ended."""


Tell = Callable[[Callable[[HostObserver], None]], None]  # has the observer hear something


class TunesTask(Protocol):
    """A way to tune a task, as `child.tune_task` does: in this process or in a worker."""

    def __call__(
        self,
        task: TuningTask,
        *,
        force: bool,
        budget: float,
        observer: Observer,
        builds_on: Sequence[str] | None,
        waits: bool,
        waited: float,
    ) -> tuple[str, Sweep | None]:
        """Return how the task ended, and the sweep."""


@dataclass(frozen=True, slots=True)
class HostRun:
    """What a run on this host needs besides its tasks and its slots. See `Tuner.tune_ahead` for `force`, `builds_on`.

    `budget` is for the whole run, `step` for one step of a trial, both in seconds. `seconds` says how long the sweeps
    will take: the longest come first, unless the run `keeps_order`, that of its tasks. `copy_rates` are measured by
    workers that have no task.
    """

    store: Store
    settings: Settings
    force: bool = False
    builds_on: Sequence[str] | None = None
    budget: float = math.inf
    step: float = MAX_STEP_S
    seconds: Mapping[TaskKey, float] = dataclasses.field(default_factory=dict)
    keeps_order: bool = False
    copy_rates: CopyRateRun | None = None


class TaskRun:
    """A run of tasks by one or several slots."""

    def __init__(self, tasks: Sequence[TuningTask], run: HostRun) -> None:
        self._run = run
        self._deadline = time.monotonic() + run.budget
        self._before: dict[TaskKey, str | None] = {}  # uids of what was stored of a task when it was first passed over
        longest = longest_first(tasks, {task.key: run.seconds.get(task.key, 0.0) for task in tasks})
        self.tasks = TaskQueue(tasks if run.keeps_order else longest, run.settings.lock_timeout)

    @property
    def is_over(self) -> bool:
        """Whether no task is to be begun any more."""
        return self.tasks.is_closed or time.monotonic() >= self._deadline

    def next(self, slot: Slot, on_idle: Callable[[], object] = lambda: None) -> TuningTask | None:
        """Return the next task for a slot, once there is one; None at the end of the run.

        `on_idle` is called first if there is none now.
        """
        device = slot.device.digest
        if not self.is_over and not self.tasks.has(device):
            on_idle()
        return None if self.is_over else self.tasks.take(device)

    def tune(self, slot: Slot, task: TuningTask, ask: TunesTask, tell: Tell) -> Outcome | None:
        """Have a task tuned, and say so; return its outcome, or None if it is passed over."""
        tell(lambda observer: observer.begins(slot, task))
        try:
            word, sweep = self._ask(task, ask, Relay(slot, tell))
        except SweepError:
            self.tasks.give_back(task)
            raise
        if word == BUSY and self.tasks.pass_over(task):
            tell(lambda observer: observer.passed_over(slot, task))
            return None
        self.tasks.done(task)
        return Outcome(task, word, sweep)

    def _ask(self, task: TuningTask, ask: TunesTask, observer: Observer) -> tuple[str, Sweep | None]:
        """Ask for the task; after a pass-over not with `force` if the other process's sweep ended well."""
        run = self._run

        def asked(*, force: bool) -> tuple[str, Sweep | None]:
            left = max(self._deadline - time.monotonic(), MIN_BUDGET_S)
            waited = self.tasks.waited(task)
            return ask(
                task, force=force, budget=left, observer=observer, builds_on=run.builds_on, waits=False, waited=waited
            )

        if not run.force:
            return asked(force=False)
        if task.key in self._before:
            word, sweep = asked(force=False)
            if word != STORED or sweep is None or sweep.uid != self._before[task.key]:
                return word, sweep
        word, sweep = asked(force=True)
        if word == BUSY and task.key not in self._before:
            word, sweep = asked(force=False)  # what is stored until the other process is done; else it is busy too
            self._before[task.key] = None if sweep is None else sweep.uid
            return (BUSY, None) if word == STORED else (word, sweep)
        return word, sweep


class Relay:
    """The observer of one slot's sweeps: what it hears, as `sweep.observer.Observer`, the run's observer hears."""

    def __init__(self, slot: Slot, tell: Tell) -> None:
        self._slot = slot
        self._tell = tell

    def started(self, sweep: Sweep, candidates: int) -> None:  # noqa: ARG002 (the protocol hands it in)
        """Hand on that a sweep starts."""
        self._tell(lambda observer: observer.started(self._slot, candidates))

    def trying(self, config: Config) -> None:
        """Hand on nothing: a trial is shown when it is done."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Hand on the trial."""
        self._tell(lambda observer: observer.tried(self._slot, trial, best_us, default_us))

    def finished(self, sweep: Sweep) -> None:
        """Hand on nothing: the outcome says it."""
