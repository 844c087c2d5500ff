"""`tunedb lookup`: the stored config for a problem."""

from __future__ import annotations

from typing import Any

from tunedb.cli.bundled import all_stored
from tunedb.cli.command import DeviceOption, FormatOption, command, log
from tunedb.cli.opening import nothing_stored, passed_over_note, reading_lists, sweep_row
from tunedb.cli.output import Format, print_record, say_answer
from tunedb.cli.problem_options import KernelArgument
from tunedb.errors import MissError

_FIELDS = (
    "kernel", "problem", "device", "config", "source", "time_us", "default_time_us", "speedup", "uid", "finished",
    "layer", "bundle", "complete", "pinned", "passed_over",
)  # fmt: skip


@command("lookup", takes_problem=True)
def lookup(
    kernel: KernelArgument,
    arguments: dict[str, Any],
    device: DeviceOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Print the stored config for a problem, without tuning.

    Asks about the current GPU, or about Triton's interpreter if there is no GPU. `passed_over` counts the stored sweeps
    of this problem on this device that can't be used; `tunedb explain` says why. If nothing is stored, the exit code is
    1, and with --format json the answer is null.
    """
    from tunedb.cli.stored_tasks import explained, find_task, look_up, passed_over

    choice, unfit = None, []
    with reading_lists(announced=False) as store:
        stored = all_stored(store, shipped=True)
        try:
            problem, task = find_task(stored, kernel, arguments, device)
        except MissError:  # a kernel that is not installed has no such problem
            if format is Format.json:
                say_answer("null")
            raise
        if task is not None:
            choice = look_up(store, task)
            unfit = passed_over(explained(store, stored, task), task)
    note = passed_over_note(unfit, problem.kernel, arguments, device)
    if choice is None or choice.sweep is None:
        if format is Format.json:
            say_answer("null")
        raise nothing_stored(problem, device if task is None else task.device, arguments, note)
    row = sweep_row(choice.sweep) | {"pinned": choice.sweep.is_pinned, "source": choice.source}
    row["passed_over"] = len(unfit)
    print_record({name: row[name] for name in _FIELDS}, format)
    if note:
        log.info("%s", note)
