"""The facts that a report is made of, read from a store once."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunedb.core.device import Device
from tunedb.core.sweep import MISSES, Layer, Sweep, Trial, TrialStatus, UsageCount
from tunedb.reporting.labels import ProblemLabels, device_texts, kernel_labels
from tunedb.store.answers import Answer, AnswerState, PairKey, answers, key_of
from tunedb.store.difference import Pair
from tunedb.store.interface import SweepLists
from tunedb.tuner.stored_device import devices_named

if TYPE_CHECKING:
    from tunedb.store.stored import Stored


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and what each answers."""

    a: str
    b: str
    pairs: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store answers, what calls missed, and the two sides that are compared."""

    answers: Sequence[Answer]
    misses: Mapping[PairKey, int] = field(default_factory=dict)  # calls that none of these answers has served since
    limits_us: Mapping[PairKey, float] = field(default_factory=dict)  # the time of copying what the problem moves
    comparison: Comparison | None = None

    @property
    def labels(self) -> ProblemLabels:
        """The labels of all problems."""
        return ProblemLabels(answer.problem for answer in self.answers)

    @property
    def devices(self) -> dict[str, str]:
        """The devices' texts by digest."""
        return device_texts(answer.device for answer in self.answers)

    @property
    def kernel_labels(self) -> dict[str, str]:
        """The kernels' short labels by name: tables have the names in full."""
        return kernel_labels(answer.problem.kernel for answer in self.answers)

    def groups(self) -> dict[tuple[str, str], list[Answer]]:
        """Return the answers by kernel and device's digest, in the order of their names."""
        grouped: dict[tuple[str, str], list[Answer]] = {}
        for answer in sorted(self.answers, key=lambda one: (one.problem.kernel, str(one.device), one.key)):
            grouped.setdefault((answer.problem.kernel, answer.device.digest), []).append(answer)
        return grouped

    def share_of_limit(self, answer: Answer) -> float | None:
        """Return how much of the device's copy rate the answering config reaches; None if that is unknown."""
        limit = self.limits_us.get(answer.key)
        return (
            None if limit is None or answer.sweep is None or not answer.sweep.time_us else limit / answer.sweep.time_us
        )


def devices_meant(stored: Stored, name: str | None, missed: Iterable[UsageCount] = ()) -> list[Device] | None:
    """Return the devices of that name, of all that sweeps or missed calls are of; None without a name.

    Every reader takes these: what one kind of record lacks must not turn the name into that of another device. Raises
    SettingError if several names fit.
    """
    if name is None:
        return None
    return devices_named([*stored.upkeep.devices(), *(usage.device for usage in missed)], name)


def read_sweeps(
    stored: SweepLists, kernels: Collection[str] = (), wanted: Collection[Device] | None = None
) -> list[Sweep]:
    """Return the finished sweeps, with their trials, of these kernels or all, on these devices or all."""
    names = [None] if wanted is None else sorted({one.name for one in wanted})
    return [
        sweep
        for kernel in (sorted(kernels) if kernels else [None])
        for name in names
        for sweep in stored.iter_sweeps(kernel=kernel, device_name=name, with_trials=True)
        if wanted is None or sweep.device in wanted
    ]


def open_misses(stored: Stored) -> list[UsageCount]:
    """Return the counts of calls that no sweep of the store has answered since.

    What bundles answer is for `facts_of` to say, from the sweeps that the report shows: what is installed here, and
    what tunedb ships, plays no part.
    """
    return [] if stored.whole is None else stored.whole.usage.get(MISSES)


def read_misses(
    missed: Iterable[UsageCount], kernels: Collection[str] = (), wanted: Collection[Device] | None = None
) -> dict[PairKey, Answer]:
    """Return the problems that calls missed, of these kernels and devices or of all, as answers without a sweep."""
    return {
        key_of(usage.problem, usage.device): Answer(usage.problem, usage.device, AnswerState.MISSED, None)
        for usage in missed
        if (not kernels or usage.problem.kernel in kernels) and (wanted is None or usage.device in wanted)
    }


def count_misses(missed: Iterable[UsageCount]) -> dict[PairKey, int]:
    """Return how many calls missed each problem."""
    counts: dict[PairKey, int] = {}
    for usage in missed:
        key = key_of(usage.problem, usage.device)
        counts[key] = counts.get(key, 0) + usage.count
    return counts


def facts_of(sweeps: Iterable[Sweep], missed: Mapping[PairKey, Answer], misses: Mapping[PairKey, int]) -> Facts:
    """Return the facts of sweeps and misses. Misses of a problem that a bundle's sweep answers count as answered."""
    answered = answers(sweeps)
    known = {answer.key for answer in answered}
    every = [*answered, *(answer for key, answer in missed.items() if key not in known)]
    every.sort(key=lambda answer: answer.key)
    is_open = {one.key for one in every if one.sweep is None or one.sweep.layer is not Layer.BUNDLE}
    return Facts(every, {key: count for key, count in sorted(misses.items()) if key in is_open})


def is_timed(trial: Trial) -> bool:
    """Say whether a trial counts in a race: its result was right, and it has a time."""
    return trial.status == TrialStatus.OK and trial.time_us is not None


def speedups(answered: Iterable[Answer]) -> list[float]:
    """Return the speed-ups over the default of those that have one."""
    return [one.sweep.speedup for one in answered if one.sweep is not None and one.sweep.speedup]


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean; None without values."""
    return statistics.geometric_mean(values) if values else None


def devices_of(facts: Facts) -> list[Device]:
    """Return the devices, in the order of their text."""
    return sorted({answer.device for answer in facts.answers}, key=str)
