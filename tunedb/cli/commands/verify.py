"""`tunedb verify`: whether what is stored still holds on the device that is here."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import devices_named, existing, listed
from tunedb.cli.output import Format, print_rows
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.errors import SettingError, StickyDeviceError

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

_COLUMNS = ("uid", "kernel", "problem", "config", "verdict", "stored_us", "time_us", "default_time_us", "reason")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    command(app)(verify)


def verify(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=1, help="Only N of them, picked at random.")
    ] = None,
    trial_timeout: Annotated[
        float, typer.Option("--trial-timeout", metavar="SECONDS", min=0, help="For compiling a config, and running it.")
    ] = 120.0,
    format: FormatOption = Format.table,
) -> None:
    """Check and time again what calls on the device that is here are answered with.

    Each winner is compared with the kernel's reference, and raced against the default. One that is wrong, fails, or is
    beaten by the default is quarantined, with the reason: calls get the one before it, or tune again. One whose time
    has moved by more than 5 % is told, and left as it is. Exit code 1 where one was quarantined or could not be tried.
    """
    from tunedb.cli.tasks import index_to_run_on

    index = index_to_run_on()
    with existing() as store:
        cases = _winners(store, index, kernel, device)
        if sample is not None and sample < len(cases):
            cases = random.sample(cases, sample)
        rows = _verified(store, cases, index, trial_timeout if index >= 0 else None)
    print_rows(rows, format, _COLUMNS)
    if not rows:
        log.info("Nothing is stored for the device that is here%s.", f" of {kernel}" if kernel else "")
    if any(row["quarantined"] or row["verdict"] == "untried" for row in rows):
        raise typer.Exit(1)


def _winners(store: Store, index: int, kernel: str | None, device: str | None) -> list[tuple[TuningTask, Sweep]]:
    """What answers each stored problem on the device that is here. Raises SettingError where another one is named."""
    from tunedb.cli.tasks import installed, make_tuner
    from tunedb.runtime.current_device import device_of
    from tunedb.tuner.pending import tasks_for

    here, tuner = device_of(index), make_tuner(store)
    if device is not None and here not in devices_named({*store.get_devices(), here}, device):
        raise SettingError(f"--device: {device!r} is not here. Here is {listed([here])}: run it there.")
    problems = {sweep.problem: None for sweep in store.iter_sweeps(kernel=kernel) if sweep.device == here}
    pending = tasks_for(problems, index, installed)
    for sentence in pending.left_out:
        log.info("%s", sentence)
    found = []
    for case in pending.tasks:
        choice = tuner.look_up(case)
        if choice is not None and choice.sweep is not None:
            found.append((case, choice.sweep))
    return found


def _verified(
    store: Store, cases: list[tuple[TuningTask, Sweep]], index: int, step: float | None
) -> list[dict[str, Any]]:
    """A row for each; with `step`, in a process of its own."""
    from tunedb.cli.tasks import make_tuner
    from tunedb.worker.supervisor import Supervisor

    rows: list[dict[str, Any]] = []
    tuner = make_tuner(store)
    if step is None:
        for number, (case, sweep) in enumerate(cases, 1):
            rows.append(_row(store, case, sweep, _here(tuner, case, sweep), number, len(cases)))
        return rows
    with Supervisor(store, tuner.settings, index, step) as apart:
        for number, (case, sweep) in enumerate(cases, 1):
            rows.append(_row(store, case, sweep, apart.verify(sweep, _Silent()), number, len(cases)))
    return rows


def _here(tuner: Tuner, case: TuningTask, sweep: Sweep) -> Any:
    from tunedb.tuner.verification import Verification, verify

    try:
        return verify(tuner, case, sweep, _Silent())
    except StickyDeviceError as error:
        return Verification("fails", str(error))


def _row(store: Store, case: TuningTask, sweep: Sweep, finding: Any, number: int, count: int) -> dict[str, Any]:
    log.info("[%d/%d] %s: %s (%s)", number, count, finding.verdict, case.kernel.name, case.problem)
    if finding.is_fault:
        store.put_mark(sweep.uid, Mark(MarkKind.QUARANTINE, f"verify: {finding.verdict}: {finding.reason}"[:1000]))
    return {
        "uid": sweep.uid,
        "kernel": case.kernel.name,
        "problem": case.problem.plain(),
        "device": case.device.name,
        "config": sweep.config and sweep.config.plain(),
        "stored_us": sweep.time_us,
        **dataclasses.asdict(finding),
        "quarantined": finding.is_fault,
    }


class _Silent:
    """An observer that tells nobody."""

    def started(self, *told: object) -> None: ...
    def trying(self, *told: object) -> None: ...
    def tried(self, *told: object) -> None: ...
    def finished(self, *told: object) -> None: ...
