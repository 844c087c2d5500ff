"""`tunedb precompile`: compile kernels for a device, which need not be here, into a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import settings
from tunedb.cli.bundled import all_stored
from tunedb.cli.cells import one_line
from tunedb.cli.command import FormatOption, command, log
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.core.device import Device
    from tunedb.runtime.precompile import Kernel, Outcome

_COLUMNS = ("kernel", "problem", "config", "source", "status", "seconds", "reason")


@command("precompile", interrupted="What was compiled is in the folder: run the same command again to continue.")
def precompile(
    kernels: Annotated[
        list[str] | None, typer.Argument(metavar="KERNEL", help="Only these kernels; by default all.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FOLDER", help="The folder to compile into. It may be moved later.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="The device to compile for: its name, or a part of it that no other has. Default: the current GPU.",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Compile for each line of a file: a call that tunedb run --record wrote, or a problem as for tunedb "
            "warm --from. By default, for each stored problem. May be repeated.",
        ),
    ] = None,
    shipped: Annotated[
        bool,
        typer.Option("--shipped", help="Without --from: also for the problems whose configs come with tunedb."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j", "--jobs", metavar="N", min=1, help="Compiles at a time; by default one per core, at most 16."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be compiled, and compile nothing.")
    ] = False,
    format: FormatOption = Format.table,
) -> None:
    """Compile kernels ahead into a folder, for a GPU that this machine need not have.

    Each kernel is compiled with the config that is stored for its problem on that device. If nothing is stored, it gets
    the config of the nearest tuned problem, or the default, as in mode `read`.

    A process with `TUNEDB_PRECOMPILED=FOLDER`, the same store, the same version of Triton and the same source texts
    then compiles none of these kernels. With `TUNEDB_MODE=strict-compile` it raises instead of compiling any other.
    Exit code 1 if a kernel could not be compiled.
    """
    if into is None and not dry_run:
        raise SettingError("precompile: expected a folder to compile into. Name it: --into FOLDER")
    if settings.is_interpreted():
        raise SettingError("precompile: Triton's interpreter compiles nothing. Run: unset TRITON_INTERPRET")
    from tunedb.cli.precompile_list import (
        default_choice,
        find_device,
        kernels_of_lines,
        kernels_of_store,
        read_lines,
    )
    from tunedb.cli.tasks import make_tuner

    names = kernels or []
    lines = read_lines(files or (), names)
    with reading() as store:
        stored = all_stored(store, shipped=shipped)
        found, target = find_device(stored if device is None else all_stored(store, shipped=True), lines, device)
        choose = default_choice if all_stored(store, shipped=True).is_empty else make_tuner(store).predict
        if files:
            work = kernels_of_lines(lines, choose, found, target)
        else:
            work = kernels_of_store(stored, names, choose, found, target)
    if not work:
        log.info("Nothing to compile for %s.", found)
    if dry_run or into is None:
        rows = [
            _row(kernel, "failed" if kernel.job is None else "to compile", 0.0, kernel.fault or kernel.note)
            for kernel in work
        ]
    else:
        rows = _compile(work, into.absolute(), found, target, jobs, _words(names, device, files))
    print_rows(rows, format, _COLUMNS)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


def _compile(
    work: list[Kernel], folder: Path, device: Device, target: Any, jobs: int | None, words: list[str]
) -> list[dict[str, Any]]:
    import tunedb
    from tunedb.runtime import precompiled_folder
    from tunedb.runtime.compile_pool import workers
    from tunedb.runtime.precompile import compile_all

    rows: list[dict[str, Any]] = []

    def done(outcome: Outcome) -> None:
        kernel = outcome.kernel
        rows.append(_row(kernel, outcome.status, outcome.seconds, outcome.reason))
        why = f": {one_line(outcome.reason)}" if outcome.reason else ""
        log.info("[%d/%d] %s: %s%s", len(rows), len(work), outcome.status, _title(kernel), why)

    try:
        outcomes = compile_all(work, folder, jobs or workers(), done)
        entries = {name: what for outcome in outcomes for name, what in outcome.entry.items()}
        if entries:
            precompiled_folder.write(folder, device, target, entries, version=tunedb.__version__, words=words)
    except OSError as error:
        raise SettingError(f"--into: can't write {folder}: {error.strerror or error}. Name another folder.") from None
    counts = {status: sum(row["status"] == status for row in rows) for status in ("compiled", "there", "failed")}
    log.info(
        "%d compiled, %d already there, %d failed, for %s in %s. To use it: export TUNEDB_PRECOMPILED=%s",
        counts["compiled"], counts["there"], counts["failed"], device, folder, shlex.quote(str(folder)),
    )  # fmt: skip
    return rows


def _words(kernels: list[str], device: str | None, files: list[Path] | None) -> list[str]:
    """Return the command without its folder, to make the folder again."""
    words = ["tunedb", "precompile", *kernels, *(["--device", device] if device else [])]
    for path in files or ():
        words += ["--from", str(path)]
    return words


def _title(kernel: Kernel) -> str:
    problem = ", ".join(f"{name}={value}" for name, value in kernel.problem.items())
    return one_line(f"{kernel.name} ({problem})" if problem else kernel.name)


def _row(kernel: Kernel, status: str, seconds: float, reason: str) -> dict[str, Any]:
    return {
        "kernel": kernel.name,
        "problem": dict(kernel.problem),
        "config": dict(kernel.config),
        "source": kernel.source,
        "status": status,
        "seconds": round(seconds, 3),
        "reason": reason or None,
    }
