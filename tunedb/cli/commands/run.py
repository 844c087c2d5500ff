"""`tunedb run`: run a program whose Triton kernels are adopted."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from tunedb import settings
from tunedb.adoption import program
from tunedb.adoption.selection import Selection
from tunedb.cli.command import command, is_quiet, is_verbose
from tunedb.errors import SettingError


class ReportFormat(enum.StrEnum):
    """The formats of a report."""

    table = enum.auto()
    json = enum.auto()


@command("run")
def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT|-m MODULE ARGS", help="The program, as Python takes it, and its arguments."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PATTERN",
            help="Adopt only kernels of these modules, such as fla.*, or with these full names. May be repeated.",
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="PATTERN", help="Leave such kernels as they are. May be repeated."),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="At the end, list on stderr each kernel and whether it was adopted, or why not."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write that list to a file instead.")
    ] = None,
    format: Annotated[ReportFormat, typer.Option("--format", help="How to write the list.")] = ReportFormat.table,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Keep which calls were launched, for tunedb precompile."),
    ] = None,
) -> None:
    """Run a Python program, with every kernel that `triton.autotune` decorates served by tunedb.

    Nothing in the program has to change. It runs as `python SCRIPT ARGS` or `python -m MODULE ARGS` would: same
    arguments, output, signals and exit code. The Python processes that it starts adopt their kernels too. Options of
    tunedb stand before the program; all words after it are the program's.

    A kernel that can't be adopted runs as it does without tunedb; `--report` says why. Of processes that still run at
    the end of the program, or were killed, the list has the kernels that were called.

    Examples: `tunedb run train.py --steps 100`; `tunedb run -m pytest tests`;
    `tunedb run --only 'fla.*' --report train.py`; `tunedb run -m torch.distributed.run --nproc-per-node 8 train.py`.
    """
    fault = program.fault_of(words or ())
    if fault is not None:
        raise SettingError(fault)
    Selection(only, skip)  # raises for a pattern that can't be used
    used = settings.current()
    values = {
        "only": only, "skip": skip, "report": report, "output": output, "format": format.value, "record": record,
        "store": used.store if used.sources["store"] == "argument" else None, "quiet": is_quiet(),
        "verbose": is_verbose(),
    }  # fmt: skip
    program.start(values, words or ())
