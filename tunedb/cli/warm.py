"""`tunedb warm`: tune ahead of the calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.common import FormatOption, command
from tunedb.cli.output import Format, print_rows
from tunedb.cli.problems import located, read_shapes, takes_problem
from tunedb.cli.stored import writing
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.cli.tuning import Task

_COLUMNS = ("kernel", "problem", "config", "time_us", "default_time_us", "speedup", "source")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app)(takes_problem(warm))


def warm(
    arguments: dict[str, Any],
    kernel: Annotated[str | None, typer.Argument(help="A kernel's name, such as avg_pool1d.")] = None,
    shapes: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help='Tune each line: {"shape": [64, 128, 65536], "kernel_size": 8}.'),
    ] = None,
    forward_only: Annotated[bool, typer.Option("--forward-only", help="Leave the gradient's kernel out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Tune again what is stored.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Tune a problem, or each line of a file, and store the results.

    What is stored already is left as it is. A kernel's gradient is tuned with it (NAME_backward with NAME). Without a
    GPU the kernels run in Triton's interpreter, whose times mean nothing for a GPU. Exit code 1 where a problem ended
    without a config.
    """
    if (kernel is None) == (shapes is None) or (shapes is not None and arguments):
        raise SettingError(
            "warm: needed either a kernel and its problem's options, or --from FILE. See: tunedb warm -h"
        )
    lines = list(read_shapes(shapes)) if shapes is not None else []

    from tunedb.cli.tuning import index_to_run_on, tasks_of, tune

    index = index_to_run_on()
    tasks: list[Task] = []
    if kernel is not None:
        tasks += tasks_of(kernel, arguments, forward_only=forward_only)
    for number, named, given in lines:
        with located(Path(str(shapes)), number):
            tasks += tasks_of(named, given, forward_only=forward_only)
    tasks = list({(task.kernel.name, task.problem): task for task in tasks}.values())
    with writing() as store:
        rows = tune(tasks, store, index, force=force)
    print_rows(rows, format, _COLUMNS)
    if len(rows) < len(tasks) or any(row["config"] is None for row in rows):
        raise typer.Exit(1)
