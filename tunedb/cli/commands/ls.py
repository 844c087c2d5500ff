"""`tunedb ls`: the stored sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunedb.cli.bundled import bundled_sweeps
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import printable_store, reading, say_unfinished, sweep_row, sweeps_of
from tunedb.cli.output import Format, print_rows
from tunedb.core.sweep import SweepStatus

if TYPE_CHECKING:
    from tunedb.store import Store

_COLUMNS = ("uid", "kernel", "problem", "device", "config", "time_us", "speedup", "status", "layer")


@command("ls")
def ls(kernel: KernelOption = None, device: DeviceOption = None, format: FormatOption = Format.table) -> None:
    """List the stored sweeps, with those that are running or were interrupted, and then those of bundles.

    JSON is an array with one object for each sweep, empty if nothing is stored.
    """
    unfinished = 0

    def rows(store: Store | None) -> Iterator[dict[str, Any]]:
        nonlocal unfinished
        for sweep in sweeps_of(store, kernel=kernel, device=device, finished=False):
            unfinished += sweep.status == SweepStatus.RUNNING
            yield sweep_row(sweep)
        yield from map(sweep_row, bundled_sweeps(store, kernel=kernel, device=device))

    with reading() as store:
        printed = print_rows(rows(store), format, _COLUMNS)
    if not printed and store is not None:
        log.info("Nothing is stored%s in %s.", " for that" if kernel or device else "", printable_store())
    say_unfinished(unfinished)
