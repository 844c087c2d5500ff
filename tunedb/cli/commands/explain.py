"""`tunedb explain`: why each stored sweep of a problem is used or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunedb import settings
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import DeviceOption, FormatOption, command, log
from tunedb.cli.opening import nothing_stored, reading_lists, sweep_row, whole_store
from tunedb.cli.output import Format, print_rows
from tunedb.cli.problem_options import KernelArgument
from tunedb.cli.store_words import store_option
from tunedb.core.sweep import now

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.store import Store
    from tunedb.tuner.explanation import Explanation

MAX_OTHERS = 1000  # sweeps of the kernel among which near problems are sought, those that came last
_COLUMNS = ("uid", "verdict", "layer", "config", "time_us", "finished", "why")


@command("explain", takes_problem=True)
def explain(
    kernel: KernelArgument,
    arguments: dict[str, Any],
    device: DeviceOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Explain why each stored sweep of a problem is used or not; the winner comes first.

    If none is used, the kernel's nearest sweeps follow, with the fields that differ, and the exit code is 1. A call
    that may not tune gets the config of the sweep that is marked `nearest`. If there is none, but a hint (a config of
    another tool or another GPU), stderr names the hint.
    """
    from tunedb.cli.stored_tasks import explained, find_task, passed_over

    if settings.current().shared:
        log.info("This explains the local store and bundles only. To copy what the shared store has: tunedb sync%s",
                 store_option())  # fmt: skip
    explanations: list[Explanation] = []
    with reading_lists(announced=False) as store:
        stored = all_stored(store, shipped=True)
        problem, task = find_task(stored, kernel, arguments, device)
        if task is not None:
            explanations = explained(store, stored, task)
            if not _is_answered(explanations):
                from tunedb.runtime.current_device import environment_of
                from tunedb.tuner.explanation import explain_near_problems

                near = stored.iter_sweeps(kernel=problem.kernel, latest=MAX_OTHERS)
                explanations += explain_near_problems(near, task, environment_of(task), now())
                _say_hint(whole_store(store), task)
    print_rows([sweep_row(entry.sweep) | entry.facts() for entry in explanations], format, _COLUMNS)
    if not _is_answered(explanations):
        unfit = [] if task is None else passed_over(explanations, task)
        note = "Every stored sweep was passed over, for the reasons above." if unfit else ""
        raise nothing_stored(problem, device if task is None else task.device, arguments, note)


def _say_hint(store: Store | None, task: TuningTask) -> None:
    """Log the hint that serves a call that may not tune, if one does."""
    from tunedb.cli.tasks import make_tuner

    choice = make_tuner(store).predict(task)
    if choice.hint is not None:
        log.info("A call that may not tune gets %s, a hint from %s.", choice.config, choice.hint.place)


def _is_answered(explanations: list[Explanation]) -> bool:
    return bool(explanations) and explanations[0].verdict == "chosen"
