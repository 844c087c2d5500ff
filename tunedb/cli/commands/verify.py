"""`tunedb verify`: whether the stored winners still hold on this GPU."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import registry
from tunedb.cli.bundled import all_stored, unused_note
from tunedb.cli.cells import one_line
from tunedb.cli.command import TRIAL_TIMEOUT_HELP, DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.names import kernel_called
from tunedb.cli.opening import no_store, reading, writing
from tunedb.cli.output import Format, print_rows
from tunedb.cli.store_words import store_option
from tunedb.cli.verifying import Silent, verify_here
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.store import Store

_COLUMNS = ("uid", "kernel", "problem", "config", "verdict", "stored_us", "time_us", "default_time_us", "reason")
MAX_REASON = 1000  # characters of a reason that a mark keeps


@command("verify", interrupted="What was found until then is marked.")
def verify(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=1, help="Only N winners, picked at random.")
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Race stale winners against their runners-up; confirm or re-tune them.")
    ] = False,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="SECONDS", min=0, help="With --stale: stop after this time.")
    ] = None,
    bundles: Annotated[
        bool,
        typer.Option(
            "--bundles", help="Also winners of bundles, tunedb's own included, that no call on this machine used."
        ),
    ] = False,
    trial_timeout: Annotated[
        float, typer.Option("--trial-timeout", metavar="SECONDS", min=0, help=TRIAL_TIMEOUT_HELP)
    ] = 120.0,
    format: FormatOption = Format.table,
) -> None:
    """Re-check the stored winners for this GPU.

    These are the winners of the local store, and the winners of bundles that calls on this machine used; with
    `--bundles`, all that bundles have for this GPU. What is found is kept in the local store, which is made if there is
    none. Each winner is compared with the kernel's reference, and raced against the default. A winner that is wrong,
    fails or loses to the default is quarantined, with the reason: calls then get the sweep that it beat, or tune again.
    A winner whose time moved by more than 5 % is reported, but not changed. Exit code 1 if a winner was quarantined or
    could not be checked.

    With `--stale`, for use after an upgrade: only winners from other versions of Triton, torch or the driver, the most
    used first. The winner, its runners-up and the default race again. A winner that still holds is confirmed: it is
    valid for the installed versions, and nothing tunes its problem again. If another config is faster, the problem is
    tuned again. Nothing is quarantined. Exit code 1 if a winner was slower than its default by 2 %, was wrong, failed,
    or could not be checked.
    """
    if budget is not None and not stale:
        raise SettingError("--budget is for --stale. Without it, limit the work by --sample or --kernel.")
    from tunedb.cli.device import index_to_run_on

    index = index_to_run_on()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(reading(announced=False))
        winners = _winners(store, index, kernel, device, only_stale=stale, bundles=bundles)
        if sample is not None and sample < len(winners):
            winners = random.sample(winners, sample)
        if store is None and winners:
            store = stack.enter_context(writing())  # for what is found out about winners of bundles
        step = trial_timeout if index >= 0 else None
        if stale:
            _guard(store, winners, index, step, math.inf if budget is None else budget, format)
            return
        rows = [] if store is None else _verified(store, winners, index, step)
    print_rows(rows, format, _COLUMNS)
    if not rows:
        log.info("Nothing is stored for the current device%s.", f" and {kernel}" if kernel else "")
    if any(row["quarantined"] or row["verdict"] == "untried" for row in rows):
        raise typer.Exit(1)


def _guard(
    store: Store | None,
    winners: list[tuple[TuningTask, Sweep]],
    index: int,
    step: float | None,
    budget: float,
    format: Format,
) -> None:
    from tunedb.cli.guard import COLUMNS, guard

    rows = [] if store is None else guard(store, winners, index, step, budget)
    print_rows(rows, format, COLUMNS)
    if not rows:
        log.info("Nothing is stale on the current device.")
    if any(row["verdict"] not in ("holds", "moved", "overtaken", "not reached") for row in rows):
        raise typer.Exit(1)


def _winners(
    store: Store | None, index: int, kernel: str | None, device: str | None, *, only_stale: bool, bundles: bool
) -> list[tuple[TuningTask, Sweep]]:
    """Return the winner of each stored problem on the current device, and say what is left out.

    Raises SettingError if another device is named, TunedbError if there is neither a store nor a bundle to take from.
    """
    from tunedb.cli.tasks import make_tuner
    from tunedb.runtime.current_device import device_of
    from tunedb.tuner.pending import stored_winners
    from tunedb.tuner.stored_device import devices_named, listed
    from tunedb.tuner.stored_names import alike

    current, stored = device_of(index), all_stored(store)
    kernel = None if kernel is None else kernel_called(stored, kernel)
    if device is not None and current not in devices_named(known := {*stored.upkeep.devices(), current}, device):
        hint = "" if devices_named(known, device) else alike(device, sorted(one.name for one in known))
        raise SettingError(
            f"--device: {device!r} is not the current device, {listed([current])}.{hint} Run verify on that device."
        )
    found = stored_winners(
        stored, make_tuner(store), index, registry.installed, kernel, unused=bundles, only_stale=only_stale
    )
    of_kernel, of_stale = f" --kernel {shlex.quote(kernel)}" if kernel else "", " --stale" if only_stale else ""
    what = "stale winner" if only_stale else "winner"
    note = unused_note(
        len(found.unused), what, "check", f"tunedb verify{of_kernel}{of_stale} --bundles{store_option()}"
    )
    if all_stored(store, shipped=bundles).is_empty:
        raise no_store(note)
    for sentence in filter(None, (*found.left_out, note)):
        log.info("%s", sentence)
    return found.pairs


def _verified(
    store: Store, winners: list[tuple[TuningTask, Sweep]], index: int, step: float | None
) -> list[dict[str, Any]]:
    """Return a row for each winner. With `step`, a worker checks them, and may take so many seconds for each step."""
    from tunedb.cli.tasks import make_tuner
    from tunedb.worker.supervisor import Supervisor

    rows: list[dict[str, Any]] = []
    tuner = make_tuner(store)
    if step is None:
        for number, (task, sweep) in enumerate(winners, 1):
            rows.append(_row(store, task, sweep, verify_here(tuner, task, sweep), number, len(winners)))
        return rows
    with Supervisor(store, tuner.settings, index, step) as worker:
        for number, (task, sweep) in enumerate(winners, 1):
            rows.append(_row(store, task, sweep, worker.verify(sweep, Silent()), number, len(winners)))
    return rows


def _row(store: Store, task: TuningTask, sweep: Sweep, finding: Any, number: int, count: int) -> dict[str, Any]:
    log.info("[%d/%d] %s: %s (%s)", number, count, finding.verdict, task.kernel.name, task.problem)
    if finding.is_fault:
        reason = one_line(f"verify: {finding.verdict}: {finding.reason}")[:MAX_REASON]
        store.marks.put(sweep.uid, Mark.after(sweep.marks, MarkKind.QUARANTINE, reason))
    return {
        "uid": sweep.uid,
        "kernel": task.kernel.name,
        "problem": task.problem.plain(),
        "device": task.device.name,
        "config": sweep.config and sweep.config.plain(),
        "stored_us": sweep.time_us,
        **dataclasses.asdict(finding),
        "quarantined": finding.is_fault,
    }
