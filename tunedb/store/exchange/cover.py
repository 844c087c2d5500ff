"""Covers: the fewest configs that serve all stored problems of a kernel within a factor, and how many serve most.

A config's loss for a problem is its time over the best one, both of one sweep. Finding the fewest is the set cover
problem: what is certain is taken first, and of the rest all sets are tried, or a greedy one is taken if there are many.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep

MAX_TRIED_SETS = 100_000  # sets of configs that are tried for an exact answer, in a second or two

Losses = Mapping[Problem, Mapping[Config, float]]
Served = Mapping[Config, set[Problem]]  # the problems that a config serves within the limit


@dataclass(frozen=True, slots=True)
class Step:
    """A config of the cover curve, in the order in which configs are added."""

    config: Config
    alone: int  # problems that it serves
    covered: int  # problems that it and those before it serve
    loss: float  # geometric mean over the problems that one of them was tried for


@dataclass(frozen=True, slots=True)
class Cover:
    """Configs that serve problems: the config of each problem, and the loss that it has there."""

    chosen: Mapping[Problem, Config]
    losses: Mapping[Problem, float]
    is_exact: bool  # whether no fewer of the configs that were timed would do

    @property
    def configs(self) -> list[Config]:
        """The configs, the most used first."""
        counts: dict[Config, int] = {}
        for config in self.chosen.values():
            counts[config] = counts.get(config, 0) + 1
        return sorted(counts, key=lambda config: (-counts[config], config.key))

    @property
    def mean_loss(self) -> float:
        """The geometric mean of the losses."""
        return _geometric_mean(self.losses.values())

    @property
    def worst_loss(self) -> float:
        """The greatest loss."""
        return max(self.losses.values())


def losses_of(sweeps: Iterable[Sweep]) -> dict[Problem, dict[Config, float]]:
    """Return the loss of each config for the problem of each sweep, by its own trials alone.

    A sweep that came without its other trials, as from most bundles, is left out: nothing says what they would lose.
    """
    losses = {}
    for sweep in sweeps:
        times = sweep.own_times
        if sweep.config in times and len(sweep.trials) >= sum(sweep.counts.values()):
            best = times[sweep.config]  # the winner keeps its place against what is within the noise
            losses[sweep.problem] = {config: max(1.0, time / best) for config, time in times.items()}
    return losses


def cover_curve(losses: Losses, limit: float, most: int) -> list[Step]:
    """Return at most so many configs, each next one serving the most problems that those before it don't."""
    by_config: dict[Config, dict[Problem, float]] = {}
    for problem, times in losses.items():
        for config, loss in times.items():
            by_config.setdefault(config, {})[problem] = loss
    served = {config: {one for one, loss in by.items() if loss <= limit} for config, by in by_config.items()}
    best: dict[Problem, float] = {}  # with the configs that were added

    def rank(config: Config) -> tuple[float, str]:
        mean = _geometric_mean(min(loss, best.get(one, math.inf)) for one, loss in by_config[config].items())
        return -mean, config.key

    steps: list[Step] = []
    covered: set[Problem] = set()
    for config in itertools.islice(_greedily(served, rank), most):
        covered |= served[config]
        best |= {one: min(loss, best.get(one, math.inf)) for one, loss in by_config[config].items()}
        steps.append(Step(config, len(served[config]), len(covered), _geometric_mean(best.values())))
    return steps


def cover(losses: Losses, limit: float) -> Cover:
    """Return the fewest configs with which no problem's loss is above the limit; each problem gets the best of them.

    Of as many configs, those with the smallest greatest loss are taken.
    """
    configs, is_exact = _fewest(losses, limit)
    if is_exact:  # which is quick
        configs = _with_less_loss(losses, limit, configs)
    chosen = {
        problem: min((config for config in configs if config in times), key=lambda one: (times[one], one.key))
        for problem, times in losses.items()
    }
    return Cover(chosen, {problem: losses[problem][config] for problem, config in chosen.items()}, is_exact)


def _with_less_loss(losses: Losses, limit: float, configs: list[Config]) -> list[Config]:
    """Return as many configs that hold the least limit that as many can hold."""
    limits = sorted({loss for times in losses.values() for loss in times.values() if loss < limit})
    low, high = 0, len(limits)
    while low < high:
        middle = (low + high) // 2
        others, _ = _fewest(losses, limits[middle])
        if len(others) <= len(configs):
            configs, high = others, middle
        else:
            low = middle + 1
    return configs


def _fewest(losses: Losses, limit: float) -> tuple[list[Config], bool]:
    """Return configs that serve all problems within the limit, and whether no fewer would do."""
    served: dict[Config, set[Problem]] = {}
    for problem, times in losses.items():
        for config, loss in times.items():
            if loss <= limit:
                served.setdefault(config, set()).add(problem)
    # Of equal configs the one with the smaller losses comes first, and so is the one that stays.
    order = sorted(served, key=lambda one: (-len(served[one]), _total(losses, served[one], one), one.key))
    needed, rest = _reduced({config: served[config] for config in order}, set(losses))
    greedy = list(_greedily(rest, lambda _: 0))
    fewer = _exact(rest, len(greedy))
    return [*needed, *(fewer or greedy)], fewer is not None


def _total(losses: Losses, problems: Iterable[Problem], config: Config) -> float:
    return sum(losses[problem][config] for problem in problems)


def _reduced(served: Served, left: set[Problem]) -> tuple[list[Config], dict[Config, set[Problem]]]:
    """Return the configs that are needed in any case, and what is left to choose from; the fewest stay the fewest.

    A config is needed if it is the only one that serves a problem. One is left out if another serves all that it does,
    and so is a problem that is served whenever another one is.
    """
    needed: list[Config] = []
    while True:
        before = (len(left), len(served))
        rest: dict[Config, set[Problem]] = {}
        for config, problems in served.items():
            still = problems & left
            if still and not any(still <= others for others in rest.values()):
                rest = {one: others for one, others in rest.items() if not others < still}
                rest[config] = still
        by_problem = {problem: frozenset(one for one in rest if problem in rest[one]) for problem in left}
        for configs in by_problem.values():
            if len(configs) == 1 and (config := next(iter(configs))) not in needed:
                needed.append(config)
                left = left - rest[config]
        for problem, configs in by_problem.items():
            if any(other in left and other != problem and by_problem[other] < configs for other in by_problem):
                left = left - {problem}
        served = rest
        if (len(left), len(served)) == before:
            return needed, {config: problems for config, problems in served.items() if problems & left} if left else {}


def _greedily(served: Served, rank: Callable[[Config], Any]) -> Iterator[Config]:
    """Yield configs, each of which serves the most of the problems that are left.

    Of those that serve equally many, the one with the greater rank; of equal ranks the first.
    """
    left: set[Problem] = set().union(*served.values())
    while left:
        best = max(served, key=lambda config: (len(served[config] & left), rank(config)))
        yield best
        left -= served[best]


def _geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def _exact(served: Served, most: int) -> Sequence[Config] | None:
    """Return fewer than `most` configs that serve all; nothing if there are none, None if that takes too long."""
    places = {problem: place for place, problem in enumerate(set().union(*served.values()))}
    masks = {config: sum(1 << places[problem] for problem in problems) for config, problems in served.items()}
    everything, tried = (1 << len(places)) - 1, 0
    for size in range(1, most):
        tried += math.comb(len(masks), size)
        if tried > MAX_TRIED_SETS:
            return None
        for configs in itertools.combinations(masks, size):
            if functools.reduce(operator.or_, (masks[config] for config in configs)) == everything:
                return configs
    return ()
