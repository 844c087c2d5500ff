"""Claims: which process may sweep a problem on a device, among all that use one store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.task import TuningTask

LEASE_S = 60.0  # a claim that is not renewed passes on after this; it is renewed three times as often
MAX_LEASE_S = 3600.0  # a claim that ends later than this from now is forged, or a clock was wrong: it counts as expired


class ClaimState(StrEnum):
    """The state of a claim. A held one whose lease has run out may be taken over."""

    HELD = "held"
    RELEASED = "released"  # after the sweep was published, or given back before it began or ended
    FAILED = "failed"  # given back after a sweep without a config: those that waited take their default


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """What is claimed: a problem on a device, for one version of its kernel."""

    problem: Problem
    device: Device
    kernel_hash: str

    @classmethod
    def of(cls, task: TuningTask) -> ClaimKey:
        """Return the key of a task."""
        return cls(task.problem, task.device, task.kernel.hash)


@dataclass(frozen=True, slots=True)
class Claimant:
    """A process that claims problems.

    `place` names the lock file under which it claims: the holder of that lock knows that the file's former holder is
    gone, and need not wait for the end of its lease. None if no lock file keeps other processes out.
    """

    owner: str
    place: str | None = None
    lease: float = LEASE_S  # seconds

    def __post_init__(self) -> None:
        if not 0 < self.lease <= MAX_LEASE_S:
            raise ValueError(f"expected a lease of at most {MAX_LEASE_S:g} s, got {self.lease!r}")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as a store has it. `attempt` grows whenever it is taken: an overtaken owner has an older one."""

    key: ClaimKey
    owner: str
    attempt: int
    state: ClaimState
    age: float  # seconds since its lease ran out, or since it was given back; negative while the lease runs
    is_ours: bool = False  # whether the question that this answers took it
