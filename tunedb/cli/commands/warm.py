"""`tunedb warm`: tune ahead of the calls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import writing
from tunedb.cli.output import Format, print_rows
from tunedb.cli.problem_options import DEFAULT_KERNEL, located, read_shapes, takes_problem
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.cli.tasks import Task
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
        typer.Option(
            "--from",
            metavar="FILE",
            help='Tune each line, {"shape": [64, 128, 65536], "kernel_size": 8}, of KERNEL or of its own "kernel".',
        ),
    ] = None,
    from_misses: Annotated[
        bool, typer.Option("--from-misses", help="Tune what calls asked for in vain, the most frequent first.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Tune again what was tuned with other versions; with KERNEL, that one's.")
    ] = False,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Finish what was cut short or aborted; with KERNEL, that one's.")
    ] = False,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", min=0, help="Stop after so long, with the best so far.")
    ] = math.inf,
    trial_timeout: Annotated[
        float,
        typer.Option("--trial-timeout", metavar="SECONDS", min=0, help="For compiling a config, and for running it."),
    ] = 120.0,
    forward_only: Annotated[bool, typer.Option("--forward-only", help="Leave the gradient's kernel out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Tune again what is stored.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Tune a problem, each line of a file, the misses, or what is stale or incomplete, and store the results.

    What is stored already is left as it is. A kernel's gradient is tuned with it (NAME_backward with NAME). On a GPU
    the sweeps run in a process of their own: a config that hangs or crashes costs its trial, and the run goes on.
    Without a GPU the kernels run in Triton's interpreter, whose times mean nothing for a GPU. Exit code 1 where a
    problem ended without a config, or was not reached.
    """
    again = stale or incomplete
    sources = (kernel is not None and not again and shapes is None, shapes is not None, from_misses, stale, incomplete)
    if sum(sources) != 1 or (arguments and not sources[0]) or (kernel is not None and from_misses):
        raise SettingError(
            "warm: needed either a kernel and its problem's options, or --from-misses, or --from FILE, --stale or "
            "--incomplete with or without a kernel. See: tunedb warm -h"
        )
    lines = list(read_shapes(shapes, kernel or DEFAULT_KERNEL)) if shapes is not None else []

    from tunedb.api import kernel_named
    from tunedb.cli.tasks import index_to_run_on, tasks_of, tune

    index = index_to_run_on()
    tasks: list[Task] = []
    if kernel is not None:
        kernel_named(kernel)  # raises for one that there is not
    if kernel is not None and sources[0]:
        tasks += tasks_of(kernel, arguments, forward_only=forward_only)
    for number, named, given in lines:
        with located(Path(str(shapes)), number):
            tasks += tasks_of(named, given, forward_only=forward_only)
    with writing() as store:
        if from_misses or again:
            kind = "incomplete" if incomplete else "stale" if stale else "missed"
            tasks = _pending(store, index, kernel, kind, forward_only=forward_only)
        tasks = list({(task.kernel.name, task.problem): task for task in tasks}.values())
        step = trial_timeout if index >= 0 else None
        rows = tune(tasks, store, index, force=force or again, budget=budget, step=step)
    print_rows(rows, format, _COLUMNS)
    if len(rows) < len(tasks) or any(row["config"] is None for row in rows):
        raise typer.Exit(1)


def _pending(store: Store, index: int, kernel: str | None, kind: str, *, forward_only: bool) -> list[Task]:
    from tunedb.cli.tasks import Task, installed, make_tuner
    from tunedb.tuner import pending

    if kind == "missed":
        found = pending.missed(store, index, installed)
    else:
        select = pending.stale if kind == "stale" else pending.incomplete
        found = select(store, make_tuner(store), index, installed, kernel)
    for sentence in found.left_out:
        log.info("%s", sentence)
    tasks = [Task(task.kernel, task.problem, None) for task in found.tasks]
    if forward_only:
        tasks = [task for task in tasks if not task.kernel.name.endswith("_backward")]
    if not tasks:
        nothing = {"missed": "No misses", "stale": "Nothing stale", "incomplete": "Nothing incomplete"}[kind]
        log.info("%s to tune on the device that is here.", nothing)
    return tasks
