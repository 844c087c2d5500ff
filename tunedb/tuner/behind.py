"""A sweep that ended behind another process's: the winner of the ranking serves, so that all use one config."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tunedb.core.sweep import Sweep
from tunedb.core.task import Choice, TuningTask
from tunedb.tuner.lookup import Lookup
from tunedb.tuner.tuning_result import Skipped, Swept

if TYPE_CHECKING:
    from tunedb.tuner.turn import SweepTurn

_log = logging.getLogger("tunedb")


def adopt(task: TuningTask, sweep: Sweep, turn: SweepTurn, lookup: Lookup) -> Swept | Skipped:
    """Return the choice of the process that tuned the task as well, and was first; says so once."""
    turn.wait_for_the_other()
    choice = lookup.get(task).choice
    _log.warning(
        "%s (%s): another process tuned it as well meanwhile; %s.",
        task.kernel.name,
        task.problem,
        "its result serves" if choice is not None else "it has no result yet, so the default serves",
    )
    if choice is None:
        return Skipped("another process is tuning this problem as well", is_claimed=True)
    return Swept(sweep, choice)


def better_ranked(task: TuningTask, sweep: Sweep, turn: SweepTurn, lookup: Lookup, own: Choice | None) -> Choice | None:
    """Return the winner of the ranking if it is neither this sweep nor `own`, what it would serve with; says so once.

    For a sweep that was published to a store which was away when it began: there may be sweeps that it did not know.
    """
    turn.look_again()
    choice = lookup.get(task).choice
    known = {sweep.uid, own.sweep.uid if own is not None and own.sweep is not None else None}
    if choice is None or choice.sweep is None or choice.sweep.uid in known:
        return None
    _log.warning(
        "%s (%s): another process's sweep %s ranks before this one; its result serves.",
        task.kernel.name, task.problem, choice.sweep.uid[:12],
    )  # fmt: skip
    return choice
