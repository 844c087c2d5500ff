"""The end of a claim without a published sweep: what those who wait are to do, their default, a sweep, or wait on."""

from __future__ import annotations

from tunedb._internal.control import programs_own
from tunedb.core.claim import ClaimState
from tunedb.core.sweep import Sweep, SweepStatus
from tunedb.errors import StoreError
from tunedb.sweep.observer import suspect_of


def state_after(sweep: Sweep, *, is_supervised: bool) -> ClaimState | None:
    """Return the state of a claim after a sweep without a winner; None if it stays claimed.

    A full disk or a spent budget says nothing about the problem. A sweep that cost this process its device would cost
    each of those who wait theirs, in turn; but a supervisor goes on without the config, in a new process.
    """
    if suspect_of(sweep) is not None:
        return None if is_supervised else ClaimState.FAILED
    return ClaimState.FAILED if sweep.status == SweepStatus.FAILED else ClaimState.RELEASED


def state_after_error(error: BaseException) -> ClaimState:
    """Return the state of a claim after an error: failed if it may be of the task's own code, which all have.

    Else it is an interrupt, or a failure of a store or of this machine.
    """
    if programs_own(error) is not None or isinstance(error, StoreError):
        return ClaimState.RELEASED
    from tunedb.runtime.failures import is_host_fault  # here, because it loads torch, as what has failed did

    return ClaimState.RELEASED if is_host_fault(error) else ClaimState.FAILED
