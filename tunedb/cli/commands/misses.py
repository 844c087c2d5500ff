"""`tunedb misses` and `tunedb stats`: what calls were served with, and what the store holds."""

from __future__ import annotations

from typing import Any

import typer

from tunedb import settings
from tunedb.cli.command import DeviceOption, FormatOption, KernelOption, command, log
from tunedb.cli.opening import devices_named, reading
from tunedb.cli.output import Format, print_record, print_rows
from tunedb.core.sweep import COUNTED_SOURCES, MISSES, SweepStatus, UsageCount

_COLUMNS = ("kernel", "problem", "device", "served_by", "count", "first_seen", "last_seen")
_HITS = ("store", "stale")  # the sources that a stored sweep of the problem itself is behind


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    command(app)(misses)
    command(app)(stats)


def misses(kernel: KernelOption = None, device: DeviceOption = None, format: FormatOption = Format.table) -> None:
    """List the problems that calls asked for and that nothing stored could answer, the most frequent first.

    Exit code 1 where there are any. A process counts each problem once, and writes its counts every minute and at its
    end. A problem that gets tuned is no miss any more.
    """
    with reading() as store:
        found = [] if store is None else store.get_served(MISSES)
    if kernel is not None:
        found = [served for served in found if served.problem.kernel == kernel]
    if device is not None:
        wanted = devices_named((served.device for served in found), device)
        found = [served for served in found if served.device in wanted]
    print_rows([_row(served) for served in found], format, _COLUMNS)
    if not found:
        log.info("No misses%s.", " of that" if kernel or device else "")
        return
    log.info("Tune those of the device that is here: tunedb warm --from-misses")
    raise typer.Exit(1)


def _row(served: UsageCount) -> dict[str, Any]:
    return {
        "kernel": served.problem.kernel,
        "problem": served.problem.plain(),
        "device": served.device.name,
        "arch": served.device.arch,
        "served_by": served.source,
        "count": served.count,
        "first_seen": served.first_seen.isoformat(),
        "last_seen": served.last_seen.isoformat(),
    }


def stats(format: FormatOption = Format.table) -> None:
    """Print what this store holds, and how often it answered.

    `served` counts, by source, each problem once in a process: hits are `store` and `stale`, misses are `nearest` and
    `default`. `seconds` is the time that its sweeps took, the imported ones too.
    """
    served = dict.fromkeys(map(str, COUNTED_SOURCES), 0)
    sweeps = dict.fromkeys(map(str, SweepStatus), 0)
    rest: dict[str, Any] = {"imported": 0, "seconds": 0.0, "problems": 0, "devices": 0}
    with reading() as store:
        if store is not None:
            served |= store.count_served()
            totals = store.get_totals()
            sweeps, rest = totals.sweeps, {name: getattr(totals, name) for name in rest}
    print_record(
        {
            "store": settings.without_password(settings.current().store),
            "hits": sum(served[source] for source in _HITS),
            "stale": served["stale"],
            "misses": sum(served[source] for source in MISSES),
            "served": served,
            "sweeps": sweeps,
            **rest,
        },
        format,
    )
