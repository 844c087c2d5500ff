"""The end of a worker in the middle of a task: what is to blame for it, by its exit code."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from tunedb.core.problem import Config

# Signals by which a process ends itself: what it ran is to blame. Any other signal comes from outside, such as from a
# person or from a system that is out of memory.
_FAULT_SIGNALS = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
}


@dataclass(frozen=True)
class Death:
    """The end of a worker in the middle of a task."""

    status: str | None  # of the suspect's trial; None if the suspect is not to blame
    reason: str
    suspect: Config | None  # the config that was being tried
    sweep_uid: str | None


def death_of(code: int | None, suspect: Config | None, sweep_uid: str | None) -> Death:
    """Return the death of a worker that closed its events and has this exit code; None: it did not end by itself."""
    if code is None:
        return Death("runtime_error", "the process did not end", suspect, sweep_uid)
    if code < 0 and -code not in _FAULT_SIGNALS:
        return Death(None, f"the process was ended from outside, with signal {-code}", suspect, sweep_uid)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Death("runtime_error", f"the process ended with {how}", suspect, sweep_uid)
