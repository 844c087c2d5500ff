"""The difference between two sets of stored sweeps: of two stores, two devices or two environments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store.answers import answers


class Verdict(StrEnum):
    """What became of a problem between the two sides."""

    SAME = "same"  # both sides chose one config
    FLIP = "flip"  # they chose different configs
    ONLY_A = "only A"
    ONLY_B = "only B"


@dataclass(frozen=True, slots=True)
class Pair:
    """The sweeps that answer one problem on the two sides; at most one of them is None."""

    problem: Problem
    a: Sweep | None
    b: Sweep | None

    @property
    def verdict(self) -> Verdict:
        """Whether both sides answer, and with one config."""
        if self.a is None:
            return Verdict.ONLY_B
        if self.b is None:
            return Verdict.ONLY_A
        return Verdict.SAME if self.a.config == self.b.config else Verdict.FLIP

    @property
    def ratio(self) -> float | None:
        """B's time over A's, of different sweeps: machines, clocks and loads may differ as well. None without both."""
        if self.a is None or self.b is None or not self.a.time_us or not self.b.time_us:
            return None
        return self.b.time_us / self.a.time_us

    @property
    def cost_on_b(self) -> float | None:
        """The time of A's config over that of B's own, both from B's sweep; None if it was not measured there."""
        return slowdown(self.a, self.b)

    @property
    def cost_on_a(self) -> float | None:
        """The time of B's config over that of A's own, both from A's sweep; None if it was not measured there."""
        return slowdown(self.b, self.a)


def difference(a: Iterable[Sweep], b: Iterable[Sweep], *, across_devices: bool = False) -> list[Pair]:
    """Return a pair for each problem that a side answers, in the order of kernel, problem and device.

    Each side may hold any finished sweeps: which of them answers is decided as `answers` does, within the side. Give
    sweeps with their trials, or the costs are None. `across_devices` pairs sweeps of different devices, of which each
    side then has one; without it, a problem on two devices is two pairs.
    """
    sides = [_by_problem(sweeps, across_devices=across_devices) for sweeps in (a, b)]
    keys = sorted(set(sides[0]) | set(sides[1]))
    return [_pair(sides[0].get(key), sides[1].get(key)) for key in keys]


def slowdown(other: Sweep | None, sweep: Sweep | None) -> float | None:
    """Return how many times as long another sweep's config takes as the winner of `sweep`, measured in `sweep`."""
    if other is None or sweep is None or other.config is None or not sweep.time_us:
        return None
    if other.config == sweep.config:
        return 1.0
    time_us = sweep.own_times.get(other.config)
    return None if time_us is None else time_us / sweep.time_us


def _by_problem(sweeps: Iterable[Sweep], *, across_devices: bool) -> dict[tuple[str, ...], Sweep]:
    answered = [one for one in answers(sweeps) if one.sweep is not None]
    return {(one.key[:2] if across_devices else one.key): one.sweep for one in answered if one.sweep is not None}


def _pair(a: Sweep | None, b: Sweep | None) -> Pair:
    sweep = a or b
    assert sweep is not None  # the key came from one of the sides
    return Pair(sweep.problem, a, b)
