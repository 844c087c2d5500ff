"""Compares the winners of two stores, two devices or two environments: which configs differ, and by how much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, TrialStatus
from tunedb.store.exchange.python_source import latest_winners

Verdict = Literal["same", "flipped", "only a", "only b"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The winners of one problem on both sides."""

    problem: Problem
    a: Sweep | None
    b: Sweep | None

    @property
    def verdict(self) -> Verdict:
        """Whether the two configs are the `same`, have `flipped`, or one side has none."""
        if self.a is None or self.b is None:
            return "only b" if self.a is None else "only a"
        return "same" if self.a.config == self.b.config else "flipped"

    @property
    def change(self) -> float | None:
        """By how much b's time is longer than a's, such as 0.05. They are of two sweeps: read it as a hint."""
        return None if self.a is None or self.b is None else _over(self.b.time_us, self.a.time_us)

    @property
    def loss_of_a(self) -> float | None:
        """By how much a's config was slower than b's where b was tuned; None if it was not timed there."""
        return _loss(self.a, self.b)

    @property
    def loss_of_b(self) -> float | None:
        """By how much b's config was slower than a's where a was tuned; None if it was not timed there."""
        return _loss(self.b, self.a)


def compare(a: Iterable[Sweep], b: Iterable[Sweep], *, across_devices: bool = False) -> list[Difference]:
    """Return the differences of all problems that either side has a winner for, by kernel, problem and device.

    The sweeps come with their trials. Each side's winner is that of the kernel's hash that was tuned last there.
    `across_devices` compares one device's problems with another's: then each side holds sweeps of one device.
    """

    def keyed(sweeps: Iterable[Sweep]) -> dict[tuple[str, str, str], Sweep]:
        return {
            (sweep.problem.kernel, sweep.problem.key, "" if across_devices else sweep.device.key): sweep
            for sweep in latest_winners(sweeps)
        }

    left, right = keyed(a), keyed(b)
    differences = []
    for key in sorted({*left, *right}):
        ours, theirs = left.get(key), right.get(key)
        sweep = ours or theirs
        assert sweep is not None
        differences.append(Difference(sweep.problem, ours, theirs))
    return differences


def _loss(loser: Sweep | None, tuned: Sweep | None) -> float | None:
    if loser is None or tuned is None:
        return None
    if loser.config == tuned.config:
        return 0.0
    times = [trial.time_us for trial in tuned.trials if trial.config == loser.config and trial.status == TrialStatus.OK]
    return min((over for time in times if (over := _over(time, tuned.time_us)) is not None), default=None)


def _over(time: float | None, base: float | None) -> float | None:
    return time / base - 1 if time is not None and base else None
