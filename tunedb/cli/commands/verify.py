"""`tunedb verify`: whether the stored winners still hold on this GPU."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import registry
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import existing
from tunedb.cli.output import Format, one_line, print_rows
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.errors import SettingError, StickyDeviceError

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

_COLUMNS = ("uid", "kernel", "problem", "config", "verdict", "stored_us", "time_us", "default_time_us", "reason")
MAX_REASON = 1000  # characters of a reason that a mark keeps


@command("verify", interrupted="What was found until then is marked.")
def verify(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=1, help="Only N winners, picked at random.")
    ] = None,
    trial_timeout: Annotated[
        float, typer.Option("--trial-timeout", metavar="SECONDS", min=0, help="For compiling a config, and running it.")
    ] = 120.0,
    format: FormatOption = Format.table,
) -> None:
    """Re-check the stored winners for this GPU.

    Each winner is compared with the kernel's reference and raced against the default. A winner that is wrong, fails or
    loses to the default is quarantined, with the reason: calls get the sweep that it beat, or tune again. Reports, but
    does not change, winners whose time moved by more than 5 %. Exit code 1 if a winner was quarantined or could not be
    checked.
    """
    from tunedb.cli.device import index_to_run_on

    index = index_to_run_on()
    with existing() as store:
        winners = _winners(store, index, kernel, device)
        if sample is not None and sample < len(winners):
            winners = random.sample(winners, sample)
        rows = _verified(store, winners, index, trial_timeout if index >= 0 else None)
    print_rows(rows, format, _COLUMNS)
    if not rows:
        log.info("Nothing is stored for the current device%s.", f" and {kernel}" if kernel else "")
    if any(row["quarantined"] or row["verdict"] == "untried" for row in rows):
        raise typer.Exit(1)


def _winners(store: Store, index: int, kernel: str | None, device: str | None) -> list[tuple[TuningTask, Sweep]]:
    """Return the winner of each stored problem on the current device. Raises SettingError if another one is named."""
    from tunedb.cli.tasks import make_tuner
    from tunedb.runtime.current_device import device_of
    from tunedb.tuner.pending import tasks_for
    from tunedb.tuner.stored_device import devices_named, listed

    current, tuner = device_of(index), make_tuner(store)
    if device is not None and current not in devices_named({*store.upkeep.devices(), current}, device):
        raise SettingError(f"--device: {device!r} is not the current device, {listed([current])}. Run verify there.")
    problems = {sweep.problem: None for sweep in store.iter_sweeps(kernel=kernel) if sweep.device == current}
    pending = tasks_for(problems, index, registry.installed)
    for sentence in pending.left_out:
        log.info("%s", sentence)
    winners = []
    for task in pending.tasks:
        choice = tuner.look_up(task)
        if choice is not None and choice.sweep is not None:
            winners.append((task, choice.sweep))
    return winners


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
            rows.append(_row(store, task, sweep, _verify_here(tuner, task, sweep), number, len(winners)))
        return rows
    with Supervisor(store, tuner.settings, index, step) as worker:
        for number, (task, sweep) in enumerate(winners, 1):
            rows.append(_row(store, task, sweep, worker.verify(sweep, _Silent()), number, len(winners)))
    return rows


def _verify_here(tuner: Tuner, task: TuningTask, sweep: Sweep) -> Any:
    from tunedb.tuner.verification import Verification, verify

    try:
        return verify(tuner, task, sweep, _Silent())
    except StickyDeviceError as error:
        return Verification("fails", str(error))


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


class _Silent:
    """An observer that shows nothing."""

    def started(self, *event: object) -> None: ...
    def trying(self, *event: object) -> None: ...
    def tried(self, *event: object) -> None: ...
    def finished(self, *event: object) -> None: ...
