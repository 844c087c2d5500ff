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
            help="Adopt only kernels of these modules (fla.*) or with these full names. May be repeated.",
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="PATTERN", help="Leave out kernels of these modules or names. May be repeated."),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="At the end, list each kernel on stderr: adopted, or why not."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the report to a file instead of stderr."),
    ] = None,
    format: Annotated[
        ReportFormat,
        typer.Option("--format", metavar="FORMAT", help="How to write the report: as a table or json."),
    ] = ReportFormat.table,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Record the calls in a file, for tunedb precompile --from."),
    ] = None,
) -> None:
    """Run a Python program in which tunedb serves every kernel that `triton.autotune` decorates.

    The program needs no change. It runs as `python SCRIPT ARGS` or `python -m MODULE ARGS` would run it, with the same
    arguments, output, signals and exit code. The Python processes that it starts adopt their kernels too. Options of
    tunedb come before the program; everything after it belongs to the program.

    A kernel that can't be adopted runs as it does without tunedb; `--report` says why. Of processes that were killed,
    or still run when the program ends, the report lists only the kernels that were called.
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
