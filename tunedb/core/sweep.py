"""The records of tuning: sweeps, their trials, marks and usage counts, and the words for their states."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from tunedb.core.device import Device, Environment, host
from tunedb.core.notebook import html_table, shortened
from tunedb.core.problem import Config, Problem


class TrialStatus(StrEnum):
    """The outcome of a trial, in one word."""

    OK = "ok"
    WRONG = "wrong"  # its output differs from the reference's
    COMPILE_ERROR = "compile_error"
    OUT_OF_RESOURCES = "out_of_resources"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    PRUNED = "pruned"  # no verdict: not worth running, does not fit the device, or its machine failed meanwhile


class TrialOutcome(StrEnum):
    """The origin of a trial's status and times."""

    MEASURED = "measured"  # the config was tried in this sweep
    DUPLICATE_OF = "duplicate_of"  # another trial of this sweep has the same binary; its uid is the reference
    KNOWN_FROM = "known_from"  # an earlier sweep tried it; that sweep's uid is the reference
    LOST_DEVICE = "lost_device"  # it was tried in this sweep, and took its device or its process along


class SweepStatus(StrEnum):
    """The state of a sweep: running, or how it ended."""

    RUNNING = "running"
    TUNED = "tuned"
    FAILED = "failed"
    ABORTED = "aborted"


class Source(StrEnum):
    """The origin of a call's config."""

    MEMORY = "memory"
    STORE = "store"
    STALE = "stale"
    NEAREST = "nearest"
    HINT = "hint"
    DEFAULT = "default"
    SWEEP = "sweep"
    OVERRIDE = "override"


class Layer(StrEnum):
    """The store that a sweep was read from."""

    LOCAL = "local"
    SHARED = "shared"
    BUNDLE = "bundle"  # a read-only file that came with a package or an image


class MarkKind(StrEnum):
    """The judgement of a mark on its sweep."""

    PIN = "pin"
    UNPIN = "unpin"
    QUARANTINE = "quarantine"
    RELEASE = "release"


FINISHED = (SweepStatus.TUNED, SweepStatus.FAILED, SweepStatus.ABORTED)
COUNTED_SOURCES = tuple(source for source in Source if source is not Source.MEMORY)  # the sources that a store counts
MISSES = (Source.NEAREST, Source.HINT, Source.DEFAULT)  # sources without a sweep of the problem itself
REFERRING = (TrialOutcome.DUPLICATE_OF, TrialOutcome.KNOWN_FROM)  # the outcomes with a reference


def new_uid() -> str:
    """Return a new identity for a sweep or a trial: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the time in UTC, to the microsecond."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """One config, compiled, checked and timed for one problem on one device. Times are in microseconds."""

    config: Config
    status: TrialStatus
    time_us: float | None = None  # median of the samples
    p20_us: float | None = None
    p80_us: float | None = None
    samples: int = 0
    compile_s: float | None = None
    registers: int | None = None  # per thread
    spills: int | None = None  # registers spilled to local memory, per thread, as the driver reports them
    shared_bytes: int | None = None  # per block
    error: str | None = None  # why it failed, or why one that an earlier sweep found right was not tried again
    outcome: TrialOutcome = TrialOutcome.MEASURED
    reference: str | None = None  # the uid that the outcome refers to
    uid: str = field(default_factory=new_uid)

    def __repr__(self) -> str:
        time = "" if self.time_us is None else f", time_us={self.time_us:.2f}"
        return f"Trial({shortened(str(self.config))}, status={self.status}{time})"

    def note(self, configs: Mapping[str, Config]) -> str:
        """Return a note for people that adds to status and times; empty if there is nothing to add.

        `configs` are those of the sweep's trials by uid.
        """
        if self.outcome == TrialOutcome.DUPLICATE_OF:
            twin = configs.get(self.reference or "")
            note = f"Same binary as {'another config' if twin is None else twin}"
        elif self.outcome == TrialOutcome.KNOWN_FROM:
            note = f"Known from sweep {(self.reference or '')[:12]}"
        elif self.outcome == TrialOutcome.LOST_DEVICE:
            note = "Lost"
        else:
            return self.error or ""
        return f"{note}: {self.error}" if self.error else note


@dataclass(frozen=True, slots=True)
class UsageCount:
    """A count of the calls of a problem on a device that one source served, in the processes of one host."""

    problem: Problem
    device: Device
    source: Source  # one of COUNTED_SOURCES
    count: int
    first_seen: datetime
    last_seen: datetime
    host: str = field(default_factory=host)  # the name of the host that counted; empty for a sum over hosts

    @property
    def day(self) -> str:
        """The day that the count belongs to, in UTC, such as 2026-08-22."""
        return f"{self.last_seen.astimezone(UTC):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A judgement of a sweep, by a person or by `verify`.

    The later of pin and unpin holds, and so does the later of quarantine and release.
    """

    kind: MarkKind
    reason: str
    time: datetime = field(default_factory=now)
    uid: str = field(default_factory=new_uid)

    @classmethod
    def after(cls, marks: Iterable[Mark], kind: MarkKind, reason: str) -> Mark:
        """Return a mark that is later than these, also if they came from a machine whose clock is ahead."""
        return cls(kind, reason, max([now(), *(mark.time + timedelta(microseconds=1) for mark in marks)]))


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A fact about a sweep: in another environment, its winner was raced against its rivals, and still won."""

    environment: Environment
    time_us: float | None = None  # the winner's median there, in microseconds
    default_time_us: float | None = None
    time: datetime = field(default_factory=now)
    uid: str = field(default_factory=new_uid)


@dataclass(frozen=True, slots=True, repr=False)
class Sweep:
    """The trials of one problem on one device in one go, and the config that won.

    A finished sweep is a fact: it is never changed. Which of several sweeps answers a call is computed
    (`store.ranking`).
    """

    problem: Problem
    device: Device
    kernel_hash: str
    environment: Environment
    status: SweepStatus
    complete: bool = True  # False if the budget ran out before every config had been tried
    config: Config | None = None  # the winner; None unless `tuned`
    time_us: float | None = None  # the winner's median
    default_time_us: float | None = None  # the default's median, from the same sweep
    started: datetime = field(default_factory=now)
    finished: datetime | None = None
    expires: datetime | None = None  # for `failed`, and `aborted` by a fault of its host: when a call tries again
    trials: Sequence[Trial] = ()  # empty if a listing leaves them out; `counts` is always complete
    counts: Mapping[str, int] = field(default_factory=dict)  # trials by status
    marks: Sequence[Mark] = ()  # oldest first
    origin: str = "local"  # or "imported"
    host: str = ""
    uid: str = field(default_factory=new_uid)
    arrived: datetime | None = field(default=None, compare=False)  # when the store that it was read from took it
    confirmations: Sequence[Confirmation] = field(default=(), compare=False)  # facts of their own, as marks are
    layer: Layer = field(default=Layer.LOCAL, compare=False)  # where it was read
    bundle: str = field(default="", compare=False)  # the bundle's name, if it was read from one

    def __repr__(self) -> str:
        config = "" if self.config is None else f", {shortened(str(self.config), 60)}"
        time = "" if self.time_us is None else f", time_us={self.time_us:.2f}"
        problem = shortened(f"{self.problem.kernel}({self.problem})", 60)
        return f"Sweep({self.uid[:12]}, {problem}, {self.device.name}, status={self.status}{config}{time})"

    def _repr_html_(self) -> str:
        """Return a table of its trials, the fastest first, for notebooks."""
        trials = sorted(self.trials, key=lambda trial: (trial.time_us is None, trial.time_us or 0.0, trial.config.key))
        rows = [
            (trial.config, trial.status, trial.time_us, trial.p20_us, trial.p80_us, trial.registers, trial.spills,
             "winner" if trial.config == self.config else self.note_of(trial))
            for trial in trials
        ]  # fmt: skip
        columns = ("config", "status", "time (µs)", "p20 (µs)", "p80 (µs)", "registers", "spills", "")
        return html_table([f"{self!r}"], []) + html_table(columns, rows)

    @property
    def speedup(self) -> float | None:
        """The default's time over the winner's, both from this sweep; None if it is not a number."""
        ratio = self.default_time_us / self.time_us if self.default_time_us and self.time_us else math.inf
        return ratio if math.isfinite(ratio) else None

    @property
    def environments(self) -> list[Environment]:
        """The environments that it was tuned or confirmed in."""
        return [self.environment, *(confirmation.environment for confirmation in self.confirmations)]

    def is_valid_in(self, environment: Environment | None) -> bool:
        """Say whether it was tuned or confirmed in this environment; without one, every sweep is valid."""
        return environment is None or environment in self.environments

    @property
    def own_times(self) -> dict[Config, float]:
        """The times in microseconds that this sweep measured, by config; equal binaries have one time.

        Those of an earlier sweep are left out: they can't be compared with times of this one.
        """
        by_uid = {trial.uid: trial for trial in self.trials}
        times: dict[Config, float] = {}
        for trial in self.trials:
            twin = by_uid.get(trial.reference or "") if trial.outcome == TrialOutcome.DUPLICATE_OF else None
            timed = trial if twin is None else twin
            if timed.status == TrialStatus.OK and timed.time_us and timed.outcome != TrialOutcome.KNOWN_FROM:
                times[trial.config] = min(timed.time_us, times.get(trial.config, math.inf))
        return times

    @property
    def leaves_its_store(self) -> bool:
        """Whether it is a fact for other machines: one without a winner says something about its host alone."""
        return self.status == SweepStatus.TUNED

    @property
    def is_pinned(self) -> bool:
        """Whether it wins against every sweep that is not pinned."""
        return self._last_mark(MarkKind.PIN, MarkKind.UNPIN) == MarkKind.PIN

    @property
    def is_quarantined(self) -> bool:
        """Whether it is never to be used."""
        return self._last_mark(MarkKind.QUARANTINE, MarkKind.RELEASE) == MarkKind.QUARANTINE

    def note_of(self, trial: Trial) -> str:
        """Return a note for people that adds to the status and times of one of its trials."""
        return trial.note({each.uid: each.config for each in self.trials})

    def _last_mark(self, *kinds: MarkKind) -> MarkKind | None:
        if not self.marks:  # as most have none
            return None
        marks = [mark for mark in self.marks if mark.kind in kinds]
        return max(marks, key=lambda mark: (mark.time, mark.uid)).kind if marks else None


def listed_order(sweep: Sweep) -> tuple[str, ...]:
    """Return the key by which lists are sorted: kernel, problem and device. Sweeps of one follow by age."""
    return sweep.problem.kernel, sweep.problem.key, sweep.device.name, sweep.device.digest
