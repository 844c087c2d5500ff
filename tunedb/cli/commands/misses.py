"""`tunedb misses`: problems that calls asked for and that no stored sweep answered."""

from __future__ import annotations

from typing import Any

import typer

from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import printable_store, reading
from tunedb.cli.output import Format, print_rows
from tunedb.core.sweep import MISSES, UsageCount
from tunedb.tuner.stored_device import devices_named

_COLUMNS = ("kernel", "problem", "device", "served_by", "count", "first_seen", "last_seen")


@command("misses")
def misses(kernel: KernelOption = None, device: DeviceOption = None, format: FormatOption = Format.table) -> None:
    """List the problems that calls asked for and no stored sweep answered, the most frequent first.

    Exit code 1 if there are any. A process counts each problem once, and writes its counts every minute and at exit.
    A problem that was tuned is no longer a miss.
    """
    with reading() as store:
        counts = [] if store is None else store.usage.get(MISSES)
    if kernel is not None:
        counts = [count for count in counts if count.problem.kernel == kernel]
    if device is not None:
        wanted = devices_named((count.device for count in counts), device)
        counts = [count for count in counts if count.device in wanted]
    print_rows([_row(count) for count in counts], format, _COLUMNS)
    if not counts:
        if store is not None:
            log.info("No misses%s in %s.", " of that" if kernel or device else "", printable_store())
        return
    log.info("Tune those of the current device: tunedb warm --from-misses")
    raise typer.Exit(1)


def _row(usage: UsageCount) -> dict[str, Any]:
    return {
        "kernel": usage.problem.kernel,
        "problem": usage.problem.plain(),
        "device": usage.device.name,
        "arch": usage.device.arch,
        "served_by": usage.source,
        "count": usage.count,
        "first_seen": usage.first_seen.isoformat(),
        "last_seen": usage.last_seen.isoformat(),
    }
