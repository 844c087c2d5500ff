"""`tunedb lookup`: the stored config for a problem."""

from __future__ import annotations

from typing import Any

from tunedb.cli.command import DeviceOption, FormatOption, command
from tunedb.cli.opening import nothing_stored, reading, sweep_row
from tunedb.cli.output import Format, print_record, say_answer
from tunedb.cli.problem_options import KernelArgument
from tunedb.errors import MissError

_FIELDS = (
    "kernel", "problem", "device", "config", "source", "time_us", "default_time_us", "speedup", "uid", "finished",
    "layer", "bundle",
)  # fmt: skip


@command("lookup", takes_problem=True)
def lookup(
    kernel: KernelArgument,
    arguments: dict[str, Any],
    device: DeviceOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Print the stored config for a problem, without tuning.

    Asks about the current GPU, or about Triton's interpreter if there is no GPU. If nothing is stored, the exit code
    is 1 and the JSON is null.
    """
    from tunedb.cli.tasks import find_task, make_tuner

    with reading(announced=False) as store:
        try:
            problem, task = find_task(store, kernel, arguments, device)
        except MissError:  # a kernel that is not installed has no such problem
            if format is Format.json:
                say_answer("null")
            raise
        choice = None if task is None else make_tuner(store).look_up(task)
    if choice is None or choice.sweep is None:
        if format is Format.json:
            say_answer("null")
        raise nothing_stored(problem, device if task is None else task.device, arguments)
    row = sweep_row(choice.sweep) | {"source": choice.source}
    print_record({name: row[name] for name in _FIELDS}, format)
