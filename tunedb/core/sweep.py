"""What a sweep leaves behind: its trials, and the sweep with the config that won."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem

TRIAL_STATUSES = ("ok", "wrong", "compile_error", "out_of_resources", "runtime_error", "timeout", "pruned")
SWEEP_STATUSES = ("running", "tuned", "failed", "aborted")
FINISHED = ("tuned", "failed", "aborted")
SOURCES = ("store", "stale", "nearest", "default", "sweep", "override")
MISSES = ("nearest", "default")  # the sources that no sweep of the problem itself is behind
MARK_KINDS = ("pin", "unpin", "quarantine", "release")


def new_uid() -> str:
    """A fresh identity for a sweep or a trial: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The time in UTC, to the microsecond."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Trial:
    """One config, compiled, checked and timed for one problem on one device. Times are in microseconds."""

    config: Config
    status: str  # one of TRIAL_STATUSES
    time_us: float | None = None  # median of the samples
    p20_us: float | None = None
    p80_us: float | None = None
    samples: int = 0
    compile_s: float | None = None
    registers: int | None = None  # per thread
    spills: int | None = None  # registers spilled to local memory, per thread, as the driver reports them
    shared_bytes: int | None = None  # per block
    error: str | None = None  # why it failed; of one that did not, what else is to be known of it
    uid: str = field(default_factory=new_uid)


@dataclass(frozen=True, slots=True)
class UsageCount:
    """How often calls of a problem on a device were served by one source, in a store's own processes."""

    problem: Problem
    device: Device
    source: str  # one of SOURCES
    count: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """A judgement of a sweep, by a person or by `verify`. Of each pair, pin and unpin say, the last one holds."""

    kind: str  # one of MARK_KINDS
    reason: str
    time: datetime = field(default_factory=now)
    uid: str = field(default_factory=new_uid)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The trials of one problem on one device in one go, and the config that won.

    A finished sweep is a fact: it is never changed. Which of several sweeps answers a call is computed
    (`store.ranking`).
    """

    problem: Problem
    device: Device
    kernel_hash: str
    environment: Environment
    status: str  # one of SWEEP_STATUSES
    complete: bool = True  # False where the budget ran out before every config had its turn
    config: Config | None = None  # the winner; None unless `tuned`
    time_us: float | None = None  # the winner's median
    default_time_us: float | None = None  # the default's median, from the same sweep
    started: datetime = field(default_factory=now)
    finished: datetime | None = None
    expires: datetime | None = None  # for `failed`: when to try again
    trials: Sequence[Trial] = ()  # empty where a listing leaves them out; then `counts` still tells
    counts: Mapping[str, int] = field(default_factory=dict)  # trials by status
    marks: Sequence[Mark] = ()  # oldest first
    origin: str = "local"  # or "imported"
    host: str = ""
    uid: str = field(default_factory=new_uid)

    @property
    def speedup(self) -> float | None:
        """The default's time over the winner's, both from this sweep."""
        return self.default_time_us / self.time_us if self.default_time_us and self.time_us else None

    @property
    def is_pinned(self) -> bool:
        """Whether it is to win against every sweep that is not pinned."""
        return self._last_mark("pin", "unpin") == "pin"

    @property
    def is_quarantined(self) -> bool:
        """Whether it is never to be used."""
        return self._last_mark("quarantine", "release") == "quarantine"

    def _last_mark(self, *kinds: str) -> str | None:
        told = [mark for mark in self.marks if mark.kind in kinds]
        return max(told, key=lambda mark: (mark.time, mark.uid)).kind if told else None
