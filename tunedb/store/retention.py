"""Obsolete sweeps, which `tunedb gc` removes and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from tunedb.core.sweep import Sweep
from tunedb.store.ranking import is_failure

ABANDONED = timedelta(days=1)  # a sweep that has been running for longer belongs to a process that is gone
CLAIM_GONE = timedelta(days=30)  # a claim that ended longer ago fences nobody: no process waits for so long
HOST_GONE = timedelta(days=30)  # a host that counted nothing for longer; its counts are added to those of others
Garbage = Literal["dead", "expired", "abandoned"]


def garbage(sweep: Sweep, hashes: Mapping[str, str], now: datetime) -> Garbage | None:
    """Return why the sweep is obsolete: `dead`, `expired` (a failure) or `abandoned`; None if it is not.

    `hashes` are those of the installed kernels by name. A sweep is dead if its kernel is installed with
    another hash; a kernel that is not installed says nothing.
    """
    if sweep.status == "running":
        return "abandoned" if now - sweep.started > ABANDONED else None
    if hashes.get(sweep.problem.kernel, sweep.kernel_hash) != sweep.kernel_hash:
        return "dead"
    if sweep.status in ("failed", "aborted") and sweep.expires is not None and not is_failure(sweep, now):
        return "expired"
    return None
