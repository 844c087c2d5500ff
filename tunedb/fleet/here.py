"""Tunes problems in this process, one after the other, as `host` does on several slots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tunedb.core.task import TuningTask
from tunedb.fleet.slots import Slot
from tunedb.fleet.task_run import HostObserver, HostRun, Outcome, TaskRun
from tunedb.sweep.observer import suspect_of

if TYPE_CHECKING:
    from tunedb.tuner.tuner import Tuner

_log = logging.getLogger("tunedb")


def tune_here(
    tasks: Sequence[TuningTask], slot: Slot, tuner: Tuner, run: HostRun, observer: HostObserver
) -> list[Outcome]:
    """Tune tasks with a tuner of this process, the longest first. Return the outcome of each that was reached.

    A task that another process has claimed is passed over, and looked at again at the end. It ends if a config has
    cost this process its device. Raises StoreError if the store fails.
    """
    from tunedb.worker.child import tune_task

    outcomes: list[Outcome] = []
    shared = TaskRun(tasks, run)

    def tell(hear: Callable[[HostObserver], None]) -> None:
        hear(observer)

    while (task := shared.next(slot)) is not None:
        outcome = shared.tune(slot, task, partial(tune_task, tuner), tell)
        if outcome is None:
            continue
        outcomes.append(outcome)
        observer.done(slot, outcome)
        if outcome.sweep is not None and suspect_of(outcome.sweep) is not None:
            _log.error("The device is lost. Run the same command again to continue.")
            break
    return outcomes
