"""The nearest tuned problem: whose config to borrow where tuning is not allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import attrgetter

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep

# Powers of two, summed over the extents. Leaving one of 25 problems out on an H200, what was borrowed within it took
# 1.05 times the tuned time, the default 1.19 times; what was borrowed from farther away, longer than the default
# (benchmarks/results/nearest-h200.json).
CUT_OFF = 12.0


def distance(one: Problem, other: Problem) -> float | None:
    """How far two problems of a kernel are apart: the sum over their integer facts of |log2 of the ratio|.

    None where they differ in a fact that has no size (a dtype, a layout, a switch), or in which facts they have.
    """
    if one.kernel != other.kernel or set(one) != set(other):
        return None
    total = 0.0
    for name, here in one.plain().items():
        there = other.plain()[name]
        if type(here) is int and type(there) is int and here >= 0 and there >= 0:
            total += abs(math.log2(here + 1) - math.log2(there + 1))
        elif here != there or type(here) is not type(there):
            return None
    return total


def nearest(
    problem: Problem,
    sweeps: Iterable[Sweep],
    is_alike: Callable[[Problem, Problem], bool],
    is_usable: Callable[[Config], bool],
    cut_off: float = CUT_OFF,
) -> tuple[Sweep, float] | None:
    """The sweep of the nearest other problem whose config is usable here, with its distance; None beyond the cut-off.

    `is_alike` is the kernel's word on which problems want the same kind of config. Ties go to the later sweep.
    """
    best: tuple[Sweep, float] | None = None
    for sweep in sorted(sweeps, key=attrgetter("finished", "uid"), reverse=True):
        if sweep.config is None or sweep.problem == problem or not is_usable(sweep.config):
            continue
        far = distance(problem, sweep.problem)
        if far is None or far > cut_off or (best is not None and far >= best[1]):
            continue
        if is_alike(problem, sweep.problem):  # asked last: the kernel gets no problem that has other facts than its own
            best = sweep, far
    return best
