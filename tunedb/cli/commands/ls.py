"""`tunedb ls`: the stored sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.bundled import bundled_sweeps
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.limits import Limits
from tunedb.cli.opening import printable_store, reading, say_unfinished, sweep_row, sweeps_of
from tunedb.cli.output import Format, print_rows
from tunedb.core.sweep import Sweep, SweepStatus

if TYPE_CHECKING:
    from tunedb.store import Store

_COLUMNS = ("uid", "kernel", "problem", "device", "config", "time_us", "speedup", "status", "layer")


@command("ls")
def ls(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="Also the share of the device's copy rate that each winner reaches.")
    ] = False,
    format: FormatOption = Format.table,
) -> None:
    """List the stored sweeps, with those that are running or were interrupted, and then those of bundles.

    With --limits: `copy_share`, for kernels that are installed and state the bytes that they move, on devices whose
    copy rate `tunedb warm` has measured. JSON is an array with one object for each sweep, empty if nothing is stored.
    """
    unfinished = 0

    def row_of(sweep: Sweep, shares: Limits | None) -> dict[str, Any]:
        return sweep_row(sweep) | ({} if shares is None else {"copy_share": shares.share(sweep)})

    def rows(store: Store | None) -> Iterator[dict[str, Any]]:
        nonlocal unfinished
        shares = Limits(store) if limits else None
        for sweep in sweeps_of(store, kernel=kernel, device=device, finished=False):
            unfinished += sweep.status == SweepStatus.RUNNING
            yield row_of(sweep, shares)
        for sweep in bundled_sweeps(store, kernel=kernel, device=device):
            yield row_of(sweep, shares)

    with reading() as store:
        printed = print_rows(rows(store), format, (*_COLUMNS, "copy_share") if limits else _COLUMNS)
    if not printed and store is not None:
        log.info("Nothing is stored%s in %s.", " for that" if kernel or device else "", printable_store())
    say_unfinished(unfinished)
