"""The nearest tuned problem: its config serves a call that may not tune, and a sweep tries it early."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.device import Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source, Sweep, now
from tunedb.core.task import Choice, TuningTask
from tunedb.store.interface import SweepStore
from tunedb.store.ranking import winners
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache

# Powers of two, summed over the extents. Leaving one of 65 problems out on an H100, the config of a problem within this
# distance took 1.00 times the tuned time where the default took 1.04 (gradients: 1.01, as the default did); within 12
# it was no better than the default (benchmarks/results/nearest-h100.json).
MAX_DISTANCE = 8.0
MAX_SWEEPS = 1000  # of the kernel on the device, the newest, among which the nearest is sought: a bound for one query
MAX_LIKELY = 3  # configs of near problems that a sweep tries first

_log = logging.getLogger("tunedb")


def distance(problem: Problem, other: Problem) -> float | None:
    """Return how far two problems of a kernel are apart: the sum over their integer facts of |log2 of the ratio|.

    Returns None if they differ in a fact that has no size (a dtype, a layout, a switch), or have different facts.
    """
    if problem.kernel != other.kernel or set(problem) != set(other):
        return None
    return facts_distance(problem.plain(), other.plain())


def facts_distance(facts: Mapping[str, Any], others: Mapping[str, Any]) -> float | None:
    """Return how far two sets of facts with the same names are apart, as `distance` does; None if not comparable."""
    total = 0.0
    for name, value in facts.items():
        other_value = others[name]
        if type(value) is int and type(other_value) is int and value >= 0 and other_value >= 0:
            total += abs(math.log2(value + 1) - math.log2(other_value + 1))
        elif value != other_value or type(value) is not type(other_value):
            return None
    return total


def nearest(
    problem: Problem,
    sweeps: Iterable[Sweep],
    is_alike: Callable[[Problem, Problem], bool],
    is_usable: Callable[[Config], bool],
    max_distance: float = MAX_DISTANCE,
) -> tuple[Sweep, float] | None:
    """Return the sweep of the nearest other problem whose config is usable here, and its distance.

    Returns None if no problem is near enough. `is_alike` is the kernel's judgement whether two problems need the same
    kind of config. Of two equally near problems the later sweep is taken.
    """
    best: tuple[Sweep, float] | None = None
    for sweep in sorted(sweeps, key=attrgetter("finished", "uid"), reverse=True):
        if sweep.config is None or sweep.problem == problem or not is_usable(sweep.config):
            continue
        far = distance(problem, sweep.problem)
        if far is None or far > max_distance or (best is not None and far >= best[1]):
            continue
        if is_alike(problem, sweep.problem):  # checked last: a kernel only gets problems with its own facts
            best = sweep, far
    return best


class NearestNeighbors:
    """The tuned problems near a task, from the newest sweeps of its kernel on its device.

    These are read once in a while, not for each miss.
    """

    def __init__(
        self,
        store: SweepStore,
        cache: ChoiceCache,
        environment_of: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._cache = cache
        self._environment_of = environment_of
        self._monotonic = monotonic
        self._recent: dict[tuple[str, str, str], tuple[float, list[Sweep]]] = {}  # with the time of reading

    def choice(self, task: TuningTask) -> Choice | None:
        """Return the config of the nearest tuned problem, if one is near enough and its config is legal here."""
        try:
            return self._choice(task)
        # The kernel's own code may fail on facts of older rows: that is not the caller's doing.
        except Exception as error:
            let_pass(error)
            _log.warning(
                "%s: the nearest problem can't be used (%s: %s).", task.kernel.name, type(error).__name__, str(error)
            )
            return None

    def _choice(self, task: TuningTask) -> Choice | None:
        tuned = self._recent_sweeps(task)
        if not tuned:
            return None
        space, environment = set(task.kernel.space(task.problem, task.device)), self._environment_of(task)
        if environment is not None:
            space -= set(
                self._store.get_wrong_configs(task.problem, task.device, task.kernel.hash, environment)
            )  # that is of the task itself
        neighbor = nearest(
            task.problem,
            [sweep for sweep, _ in winners(tuned, environment, now())],
            task.kernel.is_alike,
            lambda config: config in space and not self._cache.is_rejected(task, config),
        )
        if neighbor is None or neighbor[0].config is None:
            return None
        return Choice(neighbor[0].config, Source.NEAREST, neighbor[0])

    def likely_configs(self, task: TuningTask) -> list[Config]:
        """Return configs of the nearest tuned problems, the nearest first, each once: a sweep tries them early."""
        try:
            near = [
                (far, sweep.uid, sweep.config)
                for sweep in self._recent_sweeps(task)
                if sweep.config is not None and sweep.problem != task.problem and not sweep.is_quarantined
                and (far := distance(task.problem, sweep.problem)) is not None
            ]  # fmt: skip
        # The kernel's own code may fail on facts of older rows. The sweep then has no likely configs.
        except Exception as error:
            let_pass(error)
            _log.warning("%s: near problems are left out (%s: %s).", task.kernel.name, type(error).__name__, str(error))
            return []
        return list(dict.fromkeys(config for *_, config in sorted(near, key=itemgetter(0, 1))))[:MAX_LIKELY]

    def forget(self, task: TuningTask) -> None:
        """Read the sweeps of the task's kernel again at the next use, because more of it was tuned."""
        self._recent.pop(self._key(task), None)

    @staticmethod
    def _key(task: TuningTask) -> tuple[str, str, str]:
        return task.kernel.name, task.kernel.hash, task.device.digest

    def _recent_sweeps(self, task: TuningTask) -> list[Sweep]:
        key = self._key(task)
        read_at, sweeps = self._recent.get(key, (float("-inf"), []))
        if self._monotonic() - read_at >= ASK_AGAIN_AFTER_S:
            sweeps = self._store.get_kernel_sweeps(task.kernel.name, task.device, task.kernel.hash, MAX_SWEEPS)
            self._recent[key] = self._monotonic(), sweeps
        return sweeps
