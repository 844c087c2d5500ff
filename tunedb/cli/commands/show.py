"""Commands that read the store: `ls`, `show`, `lookup`; and `path`, which says where it is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tunedb import settings
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, is_verbose, log
from tunedb.cli.opening import existing, nothing_stored, reading, sweep_row, sweeps_of, trial_row
from tunedb.cli.output import Format, print_record, print_rows, print_table
from tunedb.cli.problem_options import takes_problem
from tunedb.core.sweep import Sweep, Trial, TrialOutcome, TrialStatus
from tunedb.sweep.race import TIE

_LS = ("uid", "kernel", "problem", "device", "config", "time_us", "speedup", "status")
_BAR = 24  # characters for the slowest trial
_ERROR = 200  # characters of an error in a table; JSON has it all


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    command(app)(ls)
    command(app)(show)
    command(app)(takes_problem(lookup))
    command(app)(path)


def ls(kernel: KernelOption = None, device: DeviceOption = None, format: FormatOption = Format.table) -> None:
    """List the stored sweeps.

    JSON is an array with one object for each, empty where nothing is stored.
    """
    with reading() as store:
        printed = print_rows(map(sweep_row, sweeps_of(store, kernel=kernel, device=device)), format, _LS)
    if not printed:
        log.info("Nothing is stored%s.", " for that" if kernel or device else "")


def show(
    uid: Annotated[str, typer.Argument(help="A sweep's uid, or its beginning.")], format: FormatOption = Format.table
) -> None:
    """Show one sweep and its race: the trials, the fastest first, each with a bar as long as its time.

    With -v: why each of them lost.
    """
    with existing() as store:
        sweep = store.get_sweep(uid)
    trials = sorted(
        sweep.trials,
        key=lambda trial: (trial.config != sweep.config, trial.time_us is None, trial.time_us or 0.0, trial.config.key),
    )
    record: dict[str, Any] = {
        **sweep_row(sweep),
        "kernel_hash": sweep.kernel_hash,
        "environment": {name: getattr(sweep.environment, name) for name in sweep.environment.__slots__},
        "started": sweep.started.isoformat(),
        "expires": sweep.expires and sweep.expires.isoformat(),
        "counts": dict(sweep.counts),
    }
    rows = [trial_row(trial, sweep) for trial in trials]
    if format is not Format.table:
        print_record({**record, "trials": rows}, format)
        return
    print_record(record, format)
    names = ("config", "status", "time_us", "p20_us", "p80_us", "samples", "registers", "spills")
    slowest = max((trial.time_us or 0.0 for trial in trials), default=0.0)
    lines = []
    for row, trial in zip(rows, trials, strict=True):
        bar, error = _bar(trial.time_us, slowest), sweep.note_of(trial)[:_ERROR]
        told = (bar, why_lost(trial, sweep)[:_ERROR]) if is_verbose() else (bar or error,)
        lines.append([*(row[name] for name in names), *told])
    print()
    print_table((*names, *(("", "why") if is_verbose() else ("",))), lines)


def why_lost(trial: Trial, sweep: Sweep) -> str:
    """Why a trial's config is not the sweep's, in words; of the winner, what it won by."""
    note = sweep.note_of(trial)
    if trial.status != TrialStatus.OK or trial.time_us is None:
        return f"{trial.status}: {note}" if note else trial.status
    if trial.outcome == TrialOutcome.DUPLICATE_OF:
        return note
    told = [note] if note else []
    if sweep.time_us is None:
        told.append("the sweep has no winner")
    elif trial.config == sweep.config:
        told.append(f"won; {sweep.speedup:.3f} times as fast as the default" if sweep.speedup else "won")
    else:
        over = trial.time_us / sweep.time_us - 1
        if over > 0:
            told.append(f"{'slower' if over > TIE else 'a near-tie'}: {over:.1%} over the winner")
        else:
            told.append(f"{abs(over):.1%} under the winner: within the margin, or measured before the race")
    return "; ".join(told)


def _bar(time_us: float | None, slowest: float) -> str:
    return "#" * max(1, round(_BAR * time_us / slowest)) if time_us else ""


def lookup(
    kernel: Annotated[str, typer.Argument(help="A kernel's name, such as avg_pool1d.")],
    arguments: dict[str, Any],
    device: DeviceOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Print the config that the store holds for a problem, without tuning.

    Asks about the GPU that is here, or where none is about Triton's interpreter. Where nothing is stored, the exit
    code is 1 and the JSON is null.
    """
    from tunedb.cli.tasks import asked, make_tuner

    with reading() as store:
        task, case = asked(store, kernel, arguments, device)
        choice = None if store is None or case is None else make_tuner(store).look_up(case)
    if choice is None or choice.sweep is None:
        if format is Format.json:
            print("null")
        raise nothing_stored(task, case, device, arguments)
    row = sweep_row(choice.sweep)
    names = (
        "kernel",
        "problem",
        "device",
        "config",
        "source",
        "time_us",
        "default_time_us",
        "speedup",
        "uid",
        "finished",
    )
    print_record({name: choice.source if name == "source" else row[name] for name in names}, format)


def path(format: FormatOption = Format.table) -> None:
    """Print where the store is.

    With -v: each setting, its value, and where it came from.
    """
    rows = settings.as_rows(settings.current())
    if is_verbose() or format is not Format.table:
        print_rows(rows, format, ("setting", "value", "source"))
    else:
        print(next(row["value"] for row in rows if row["setting"] == "TUNEDB_STORE"))
