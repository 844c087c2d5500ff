"""Covers: the fewest configs that serve all stored problems of a kernel within a factor of their best times.

A config's loss for a problem is its time over the best one, both of one sweep. Finding the fewest is the set cover
problem: it is solved exactly if few sets of configs have to be tried, else greedily.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, TrialOutcome, TrialStatus
from tunedb.store.exchange.foreign.trial_files import timed_trial

MAX_TRIED_SETS = 100_000  # sets of configs that are tried for an exact answer, in a second or two

Losses = Mapping[Problem, Mapping[Config, float]]


@dataclass(frozen=True, slots=True)
class Cover:
    """Configs that serve problems: the config of each problem, and the loss that it has there."""

    chosen: Mapping[Problem, Config]
    losses: Mapping[Problem, float]
    is_exact: bool  # whether no fewer configs would do

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
        return math.exp(sum(map(math.log, self.losses.values())) / len(self.losses))

    @property
    def worst_loss(self) -> float:
        """The greatest loss."""
        return max(self.losses.values())


def losses_of(sweeps: Iterable[Sweep]) -> dict[Problem, dict[Config, float]]:
    """Return the loss of each config for the problem of each sweep, by its own trials alone."""
    losses = {}
    for sweep in sweeps:
        by_uid = {trial.uid: trial for trial in sweep.trials}
        times: dict[Config, float] = {}
        for trial in sweep.trials:
            timed = timed_trial(trial, by_uid)
            # A time that an earlier sweep measured can't be compared with those of this one.
            if timed.status == TrialStatus.OK and timed.time_us and timed.outcome != TrialOutcome.KNOWN_FROM:
                times[trial.config] = timed.time_us
        if sweep.config in times:
            best = times[sweep.config]  # the winner keeps its place against what is within the noise
            losses[sweep.problem] = {config: max(1.0, time / best) for config, time in times.items()}
    return losses


def cover(losses: Losses, limit: float) -> Cover:
    """Return the fewest configs with which no problem's loss is above the limit; each problem gets the best of them."""
    served = _served(losses, limit)
    greedy = _greedy(losses, served)
    smaller = _exact(losses, served, len(greedy))
    configs = greedy if smaller is None else smaller or greedy
    chosen = {
        problem: min((config for config in configs if config in times), key=lambda one: (times[one], one.key))
        for problem, times in losses.items()
    }
    return Cover(chosen, {problem: losses[problem][config] for problem, config in chosen.items()}, smaller is not None)


def _served(losses: Losses, limit: float) -> dict[Config, frozenset[Problem]]:
    """Return the problems that each config serves within the limit, without configs that another one replaces."""
    served: dict[Config, set[Problem]] = {}
    for problem, times in losses.items():
        for config, loss in times.items():
            if loss <= limit:
                served.setdefault(config, set()).add(problem)
    kept: dict[Config, frozenset[Problem]] = {}
    for config in sorted(served, key=lambda one: (-len(served[one]), _total(losses, served[one], one), one.key)):
        if not any(served[config] <= others for others in kept.values()):
            kept[config] = frozenset(served[config])
    return kept


def _total(losses: Losses, problems: Iterable[Problem], config: Config) -> float:
    return sum(losses[problem][config] for problem in problems)


def _greedy(losses: Losses, served: Mapping[Config, frozenset[Problem]]) -> list[Config]:
    """Return configs, each of which serves the most of the problems that are left."""
    left, configs = set(losses), []
    while left:
        best = max(served, key=lambda config: len(served[config] & left))  # of equal ones the first
        configs.append(best)
        left -= served[best]
    return configs


def _exact(losses: Losses, served: Mapping[Config, frozenset[Problem]], most: int) -> Sequence[Config] | None:
    """Return fewer than `most` configs that serve all; nothing if there are none, None if that takes too long."""
    everything, tried = set(losses), 0
    for size in range(1, most):
        tried += math.comb(len(served), size)
        if tried > MAX_TRIED_SETS:
            return None
        for configs in itertools.combinations(served, size):
            if len(frozenset().union(*(served[config] for config in configs))) == len(everything):
                return configs
    return ()
