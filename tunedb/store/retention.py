"""Which sweeps are of no use to anyone any more: what `tunedb gc` removes, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from tunedb.core.sweep import Sweep

ABANDONED = timedelta(days=1)  # after which nobody goes on with a sweep that is still running
Garbage = Literal["dead", "expired", "abandoned"]


def garbage(sweep: Sweep, hashes: Mapping[str, str], now: datetime) -> Garbage | None:
    """Why the sweep may go: `dead`, `expired` (a failure) or `abandoned`; None where it stays.

    `hashes` are those of the installed kernels by name. A sweep is dead where its kernel is installed and has another
    one now; of a kernel that is not installed nothing is known.
    """
    if sweep.status == "running":
        return "abandoned" if now - sweep.started > ABANDONED else None
    if hashes.get(sweep.problem.kernel, sweep.kernel_hash) != sweep.kernel_hash:
        return "dead"
    if sweep.status == "failed" and sweep.expires is not None and sweep.expires <= now:
        return "expired"
    return None
