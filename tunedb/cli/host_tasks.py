"""Tuning tasks of `warm` and `demo` on this host: on which slots, or in this process, and the rows of the results."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tunedb import settings
from tunedb._internal.counted import counted
from tunedb.cli.command import log
from tunedb.cli.tasks import make_tuner, task_row, warn_about_interpreter
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.fleet.early_workers import EarlyWorkers
    from tunedb.fleet.slots import Slot
    from tunedb.store import Store


def slots_to_use(index: int, devices: str | None, workers: int | None) -> list[Slot]:
    """Return the slots to tune on; none if this process's interpreter is to tune.

    index: the current device's. Raises SettingError for options that don't fit what this host has.
    """
    from tunedb.fleet.slots import gpu_slots, interpreters, select

    if index < 0:
        if devices is not None:
            raise SettingError("--devices: no GPU is used. To tune in several interpreters: --workers 2")
        return [] if workers is None else interpreters(workers)
    if workers is not None:
        raise SettingError("--workers: expected no GPU, or TRITON_INTERPRET=1. To choose GPUs: --devices 0,1")
    slots = gpu_slots()
    if devices is not None:
        return select(slots, devices)
    return slots if len(slots) > 1 else [replace(slot, name="") for slot in slots]  # which needs no name in lines


def tune(
    tasks: Sequence[TuningTask],
    store: Store,
    slots: Sequence[Slot] = (),
    *,
    force: bool = False,
    from_nothing: bool = False,
    keeps_order: bool = False,
    early: EarlyWorkers | None = None,
    budget: float = math.inf,
    step: float | None = None,
) -> list[dict[str, Any]]:
    """Tune the tasks that have no stored config, with progress on stderr. Returns a row for each.

    The longest come first, unless their order is to be kept. Each slot has a worker, which is ended if a step of a
    trial takes more than `step` seconds; without slots this process tunes. With `force` tasks with a stored config are
    tuned too; with `from_nothing` no trial of an earlier sweep counts. Tasks that were not reached within the budget,
    in seconds for all of them, have no row. Workers may have been started `early`; they measure copy rates that the
    store lacks, or all of them `from_nothing`.
    """
    from tunedb.cli.host_progress import HostProgress
    from tunedb.fleet.copy_rates import CopyRateRun
    from tunedb.fleet.here import tune_here
    from tunedb.fleet.host import tune_on_host
    from tunedb.fleet.order import expected_seconds
    from tunedb.fleet.slots import Slot, needed
    from tunedb.fleet.task_run import HostRun
    from tunedb.worker.supervisor import MAX_STEP_S

    if not tasks:
        return []
    warn_about_interpreter(tasks)
    begun, seconds = time.monotonic(), expected_seconds(tasks, store)
    run = HostRun(
        store, settings.current(), force=force, builds_on=() if from_nothing else None, budget=budget,
        step=MAX_STEP_S if step is None else step, seconds=seconds, keeps_order=keeps_order,
        copy_rates=CopyRateRun(store, again=from_nothing),
    )  # fmt: skip
    here = Slot("", tasks[0].device, tasks[0].index, 0)
    with HostProgress(needed(slots, tasks) or [here], seconds) as progress:
        if slots:
            outcomes = tune_on_host(tasks, slots, run, progress, early)
        else:
            outcomes = tune_here(tasks, here, make_tuner(store, shares=True), run, progress)
    if len(outcomes) < len(tasks) and time.monotonic() - begun >= budget:
        log.info("The budget is spent: %s left.", counted(len(tasks) - len(outcomes), "problem"))
    rows = {outcome.task.key: task_row(outcome.task, outcome.word, outcome.sweep) for outcome in outcomes}
    return [rows[task.key] for task in tasks if task.key in rows]
