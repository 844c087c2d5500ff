"""The guard after an upgrade: stale winners race again, and are confirmed in the new environment or tuned again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tunedb.cli.bundled import find_sweep
from tunedb.cli.command import log
from tunedb.cli.tasks import make_tuner
from tunedb.cli.verifying import Silent, verify_here
from tunedb.core.problem import Problem
from tunedb.core.sweep import Confirmation, Source, Sweep
from tunedb.worker.child import tune_task
from tunedb.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.core.verification import Verification
    from tunedb.store import Store

COLUMNS = ("uid", "kernel", "problem", "verdict", "action", "config", "time_us", "default_time_us", "tuned", "reason")
RIVALS = 3  # runners-up that race too: as many as race again with configs that are new in the space
_SERVED = (Source.STORE, Source.STALE, Source.SWEEP, Source.OVERRIDE)


def guard(
    store: Store, winners: list[tuple[TuningTask, Sweep]], index: int, step: float | None, budget: float
) -> list[dict[str, Any]]:
    """Race stale winners again, those first that calls used most, and return a row for each.

    A winner that still wins is confirmed. One that turned over is tuned again within what is left of the budget, in
    seconds, unless it is pinned. A task that the budget does not reach is left, and so is one whose tuning was cut
    short: `tuned` is then what serves it until `warm --incomplete` finishes it, if anything new does. With `step`, a
    worker does it, and may take so many seconds for each step.
    """
    tuner, until = make_tuner(store, shares=True), time.monotonic() + budget
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        worker = None
        if step is not None and winners:
            worker = stack.enter_context(Supervisor(store, tuner.settings, index, step))
        for number, (task, listed) in enumerate(_most_used_first(store, winners), 1):
            if time.monotonic() >= until:
                rows.append(_row(task, listed, None, "left", None))
                continue
            sweep = find_sweep(store, listed.uid)  # with its trials
            if worker is None:
                finding = verify_here(tuner, task, sweep, RIVALS)
            else:
                finding = worker.verify(sweep, Silent(), rivals=RIVALS)
            log.info("[%d/%d] %s: %s (%s)", number, len(winners), finding.verdict, task.kernel.name, task.problem)
            if finding.still_wins:
                environment = tuner.lookup.environment(task)
                assert environment is not None  # the task is on this process's device
                confirmation = Confirmation(environment, finding.time_us, finding.default_time_us)
                store.confirmations.put_all([(sweep.uid, confirmation)])
                rows.append(_row(task, sweep, finding, "confirmed", None))
                continue
            if finding.verdict == "untried":
                rows.append(_row(task, sweep, finding, "left", None))
                continue
            if sweep.is_pinned:  # it would win against whatever is tuned now
                rows.append(_row(task, sweep, finding, "left", None))
                continue
            left = max(0.0, until - time.monotonic())
            if worker is None:
                _, tuned = tune_task(tuner, task, force=True, builds_on=None, budget=left, observer=Silent())
            else:
                _, tuned = worker.tune(
                    task.problem, task.arguments, force=True, builds_on=None, budget=left, observer=Silent()
                )
            is_new = tuned is not None and tuned.uid != sweep.uid and tuned.config is not None
            is_finished = is_new and tuned is not None and tuned.complete
            rows.append(_row(task, sweep, finding, "tuned" if is_finished else "left", tuned if is_new else None))
    return rows


def _most_used_first(store: Store, winners: list[tuple[TuningTask, Sweep]]) -> list[tuple[TuningTask, Sweep]]:
    used: Counter[Problem] = Counter()
    devices = {task.device for task, _ in winners}
    for one in store.usage.served(_SERVED):
        if one.usage.device in devices:
            used[one.usage.problem] += one.usage.count
    return sorted(winners, key=lambda pair: -used[pair[0].problem])  # equal ones stay in their order


def _row(
    task: TuningTask, sweep: Sweep, finding: Verification | None, action: str, tuned: Sweep | None
) -> dict[str, Any]:
    facts = {"verdict": "not reached", "reason": "", "time_us": None, "default_time_us": None}
    return {
        "uid": sweep.uid,
        "kernel": task.kernel.name,
        "problem": task.problem.plain(),
        "device": task.device.name,
        "config": sweep.config and sweep.config.plain(),
        "stored_us": sweep.time_us,
        **(facts if finding is None else dataclasses.asdict(finding)),
        "action": action,
        "tuned": tuned and tuned.config and tuned.config.plain(),
        "tuned_us": tuned and tuned.time_us,
    }
