"""`tunedb stats`: what the store holds, and how often it answered."""

from __future__ import annotations

from typing import Any

from tunedb.cli.command import FormatOption, command
from tunedb.cli.opening import printable_store, reading, say_unfinished
from tunedb.cli.output import Format, print_record
from tunedb.core.sweep import COUNTED_SOURCES, MISSES, SweepStatus

HITS = ("store", "stale")  # the sources that are backed by a stored sweep of the problem itself


@command("stats")
def stats(format: FormatOption = Format.table) -> None:
    """Print what the store holds, and how often it answered.

    `served` counts, by source, each problem once per process: hits are `store` and `stale`, misses are `nearest` and
    `default`. `seconds` is the time that the sweeps took, imported ones included.
    """
    served = dict.fromkeys(map(str, COUNTED_SOURCES), 0)
    sweeps = dict.fromkeys(map(str, SweepStatus), 0)
    rest: dict[str, Any] = {"imported": 0, "seconds": 0.0, "problems": 0, "devices": 0}
    with reading() as store:
        if store is not None:
            served |= store.usage.by_source()
            totals = store.upkeep.totals()
            sweeps, rest = totals.sweeps, {name: getattr(totals, name) for name in rest}
    print_record(
        {
            "store": printable_store(),
            "hits": sum(served[source] for source in HITS),
            "stale": served["stale"],
            "misses": sum(served[source] for source in MISSES),
            "served": served,
            "sweeps": sweeps,
            **rest,
        },
        format,
    )
    say_unfinished(sweeps[SweepStatus.RUNNING])
