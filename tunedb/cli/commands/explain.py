"""`tunedb explain` and `tunedb mark`: why a sweep answers a call or does not, and a person's say in it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import settings
from tunedb.cli.command import DeviceOption, FormatOption, command, log
from tunedb.cli.opening import existing, nothing_stored, reading, sweep_row
from tunedb.cli.output import Format, print_record, print_rows
from tunedb.cli.problem_options import takes_problem
from tunedb.core.sweep import Mark, MarkKind, Sweep, now
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.store import Store

_COLUMNS = ("uid", "verdict", "config", "time_us", "finished", "why")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    command(app)(takes_problem(explain))
    command(app)(mark)


def explain(
    kernel: Annotated[str, typer.Argument(help="A kernel's name, such as avg_pool1d.")],
    arguments: dict[str, Any],
    device: DeviceOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Say of each sweep that is stored for a problem why it is chosen or passed over, the chosen one first.

    Where none answers, the entries of the same kernel that come nearest follow, with the fields in which they differ,
    and the exit code is 1. `nearest` is the one whose config a call gets where it may not tune.
    """
    from tunedb.cli.tasks import asked, environment_of
    from tunedb.tuner import explanation

    if settings.current().shared:
        log.info("The shared store is not asked: this is what is stored here. To unite the two: tunedb sync")
    found: list[explanation.Explanation] = []
    with reading() as store:
        task, case = asked(store, kernel, arguments, device)
        if store is not None and case is not None:
            environment, moment = environment_of(case.index, case.kernel), now()
            found = explanation.explain_problem(store.get_problem_sweeps(task.problem), case, environment, moment)
            if not found or found[0].verdict != "chosen":
                found += explanation.explain_near_problems(store.iter_sweeps(kernel=kernel), case, environment, moment)
    print_rows([sweep_row(one.sweep) | one.facts() for one in found], format, _COLUMNS)
    if not found or found[0].verdict != "chosen":
        raise nothing_stored(task, case, device, arguments)


def mark(
    uid: Annotated[str, typer.Argument(help="A sweep's uid, or its beginning.")],
    kind: Annotated[MarkKind, typer.Argument(help="pin: it wins; quarantine: it is never used; and their opposites.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for those who come later.")],
    format: FormatOption = Format.table,
) -> None:
    """Pin or quarantine a sweep, or take that back, and print which sweep wins now.

    A mark is kept beside the sweep for good, with its reason, and goes where the sweep goes. Where the winner is
    quarantined, the one before it answers again.
    """
    if not reason.strip():
        raise SettingError("--reason: found no text, needed the reason for the mark.")
    with existing() as store:
        sweep = store.get_sweep(uid)
        try:
            # Later than what it takes back, also where that came from a machine whose clock is ahead.
            time = max([now(), *(mark.time + timedelta(microseconds=1) for mark in sweep.marks)])
            store.put_mark(sweep.uid, Mark(kind, reason, time))
        except ValueError as error:
            raise SettingError(f"--reason: {error}.") from None
        wins = _winner_now(store, sweep)
    config = None if wins is None or wins[0].config is None else wins[0].config.plain()
    print_record(
        {
            "uid": sweep.uid,
            "mark": kind.value,
            "reason": reason,
            "kernel": sweep.problem.kernel,
            "problem": sweep.problem.plain(),
            "device": sweep.device.name,
            "wins": wins and wins[0].uid,
            "config": config,
            "source": wins and wins[1],
        },
        format,
    )


def _winner_now(store: Store, sweep: Sweep) -> tuple[Sweep, str] | None:
    """What answers the sweep's problem on its device: as a call sees it where its kernel is here, else by rank."""
    from tunedb.cli.tasks import device_here, index_here, installed, make_tuner
    from tunedb.core.device import Placement
    from tunedb.core.task import TuningTask
    from tunedb.store import winner

    problem, device = sweep.problem, sweep.device
    kernel = installed([problem.kernel]).get(problem.kernel)
    if kernel is None or kernel.hash != sweep.kernel_hash:
        log.info("No %s is installed with the source that was tuned: no call here asks for it.", problem.kernel)
        return winner(store.get_sweeps(problem, device, sweep.kernel_hash), None, now=now())
    index = index_here() if device == device_here() else None
    choice = make_tuner(store).look_up(TuningTask(kernel, problem, Placement(device, index)))
    return None if choice is None or choice.sweep is None else (choice.sweep, choice.source)
