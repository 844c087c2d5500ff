"""`tunedb ls`: the stored sweeps."""

from __future__ import annotations

from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import reading, sweep_row, sweeps_of
from tunedb.cli.output import Format, print_rows

_COLUMNS = ("uid", "kernel", "problem", "device", "config", "time_us", "speedup", "status")


@command("ls")
def ls(kernel: KernelOption = None, device: DeviceOption = None, format: FormatOption = Format.table) -> None:
    """List the stored sweeps.

    JSON is an array with one object for each sweep, empty if nothing is stored.
    """
    with reading() as store:
        printed = print_rows(map(sweep_row, sweeps_of(store, kernel=kernel, device=device)), format, _COLUMNS)
    if not printed:
        log.info("Nothing is stored%s.", " for that" if kernel or device else "")
