"""Progress of sweeps that run one after the other, in this process or in one worker: `host_progress` with one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType

from tunedb.cli.host_progress import HostProgress
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import TaskKey, TuningTask
from tunedb.fleet.host import Outcome
from tunedb.fleet.slots import Slot


class Progress:
    """Progress through a list of tasks: the observer (`tunedb.sweep.observer.Observer`) of their sweeps.

    seconds: how long each task is expected to take.
    """

    def __init__(
        self, seconds: Mapping[TaskKey, float], task: TuningTask, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._slot = Slot("", task.device, task.index, 0)
        self._task = task
        self._shown = HostProgress([self._slot], seconds, monotonic)

    def __enter__(self) -> Progress:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)

    def next(self, task: TuningTask) -> None:
        """Begin the next task."""
        self._task = task
        self._shown.begins(self._slot, task)

    def done(self, source: str, sweep: Sweep | None) -> None:
        """End the task; `source` says how it ended."""
        self._shown.done(self._slot, Outcome(self._task, source, sweep))

    def started(self, sweep: Sweep, candidates: int) -> None:  # noqa: ARG002 - the task says what is swept
        """Show that its sweep starts."""
        self._shown.started(self._slot, candidates)

    def trying(self, config: Config) -> None:
        """Show nothing: the trial is shown when it is done."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Show the trial."""
        self._shown.tried(self._slot, trial, best_us, default_us)

    def finished(self, sweep: Sweep) -> None:
        """Show nothing: `done` shows how the sweep ended."""
