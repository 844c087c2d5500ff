"""Tuning tasks of `warm` on several slots of this host: which slots, and the rows of what was tuned on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunedb import settings
from tunedb.cli.command import log
from tunedb.cli.tasks import task_row, warn_about_interpreter
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.fleet.slots import Slot
    from tunedb.store import Store


def slots_to_use(index: int, devices: str | None, workers: int | None) -> list[Slot]:
    """Return the slots to tune on; none if that is the current device alone, or this process's interpreter.

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
    return slots if len(slots) > 1 else []


def tune_on_slots(
    tasks: Sequence[TuningTask],
    slots: Sequence[Slot],
    store: Store,
    *,
    force: bool,
    from_nothing: bool,
    budget: float,
    step: float,
) -> list[dict[str, Any]]:
    """Tune the tasks, the longest first, as `tasks.tune` does, and show one progress for all. Returns a row for each.

    Tasks that were not reached within the budget have none.
    """
    from tunedb.cli.host_progress import HostProgress
    from tunedb.fleet.host import HostRun, tune_on_host
    from tunedb.fleet.order import expected_seconds

    warn_about_interpreter(tasks)
    seconds = expected_seconds(tasks, store)
    run = HostRun(
        store, settings.current(), force=force, builds_on=() if from_nothing else None, budget=budget, step=step,
        seconds=seconds,
    )  # fmt: skip
    slots = slots[: max(1, len(tasks))]
    with HostProgress(slots, seconds) as progress:
        outcomes = tune_on_host(tasks, slots, run, progress)
    if len(outcomes) < len(tasks) and not math.isinf(budget):
        log.info("The budget is spent: %d problems are left.", len(tasks) - len(outcomes))
    rows = {outcome.task.key: task_row(outcome.task, outcome.word, outcome.sweep) for outcome in outcomes}
    return [rows[task.key] for task in tasks if task.key in rows]
