"""`tunedb warm`: tune ahead of the calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.common import FormatOption, command, log
from tunedb.cli.output import Format, print_rows
from tunedb.cli.problems import located, read_shapes, takes_problem
from tunedb.cli.stored import writing
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.cli.tuning import Task
    from tunedb.store import Store

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
    from_misses: Annotated[
        bool, typer.Option("--from-misses", help="Tune what calls asked for in vain, the most frequent first.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Tune again what was tuned with other versions; with KERNEL, that one's.")
    ] = False,
    forward_only: Annotated[bool, typer.Option("--forward-only", help="Leave the gradient's kernel out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Tune again what is stored.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Tune a problem, each line of a file, the misses, or what is stale, and store the results.

    What is stored already is left as it is. A kernel's gradient is tuned with it (NAME_backward with NAME). Without a
    GPU the kernels run in Triton's interpreter, whose times mean nothing for a GPU. Exit code 1 where a problem ended
    without a config.
    """
    sources = (kernel is not None and not stale, shapes is not None, from_misses, stale)
    if sum(sources) != 1 or (arguments and not sources[0]) or (kernel is not None and from_misses):
        raise SettingError(
            "warm: needed either a kernel and its problem's options, or --from FILE, or --from-misses, or --stale with "
            "or without a kernel. See: tunedb warm -h"
        )
    lines = list(read_shapes(shapes)) if shapes is not None else []

    from tunedb.cli.tuning import index_to_run_on, tasks_of, tune

    index = index_to_run_on()
    tasks: list[Task] = []
    if kernel is not None and not stale:
        tasks += tasks_of(kernel, arguments, forward_only=forward_only)
    for number, named, given in lines:
        with located(Path(str(shapes)), number):
            tasks += tasks_of(named, given, forward_only=forward_only)
    with writing() as store:
        if from_misses or stale:
            tasks = _pending(store, index, kernel, stale=stale, forward_only=forward_only)
        tasks = list({(task.kernel.name, task.problem): task for task in tasks}.values())
        rows = tune(tasks, store, index, force=force or stale)
    print_rows(rows, format, _COLUMNS)
    if len(rows) < len(tasks) or any(row["config"] is None for row in rows):
        raise typer.Exit(1)


def _pending(store: Store, index: int, kernel: str | None, *, stale: bool, forward_only: bool) -> list[Task]:
    from tunedb.cli import pending
    from tunedb.warming import kernel_named

    if kernel is not None:
        kernel_named(kernel)  # raises for one that there is not
    tasks = pending.stale(store, index, kernel) if stale else pending.missed(store, index)
    if forward_only:
        tasks = [task for task in tasks if not task.kernel.name.endswith("_backward")]
    if not tasks:
        log.info("%s on the device that is here.", "Nothing is stale" if stale else "No misses")
    return tasks
