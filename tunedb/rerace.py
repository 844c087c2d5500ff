"""After an edit of a kernel's configs: only what no stored trial covers is tried, and raced against what won before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tunedb.device import Device, Environment
from tunedb.memory import Case, Choice
from tunedb.problem import Config, Problem
from tunedb.records import Sweep, Trial
from tunedb.tunable import Tunable, Workload

KEPT = 3  # of the fastest stored configs that are raced again


class _Whole(Protocol):
    """Where sweeps are read with their trials."""

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """The finished sweeps of that identity, maybe without trials."""

    def get_whole(self, uids: Collection[str]) -> Iterator[list[Sweep]]:
        """These sweeps with their trials."""


class Remaining:
    """A tunable whose space is a part of another's: the default, the new configs, and the fastest of the old ones."""

    def __init__(self, kernel: Tunable, configs: Sequence[Config], before: Sweep) -> None:
        self._kernel = kernel
        self._configs = configs
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)  # its clock and the clock's method, where it has them

    @property
    def name(self) -> str:
        """The kernel's."""
        return self._kernel.name

    @property
    def hash(self) -> str:
        """The kernel's."""
        return self._kernel.hash

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """The configs that are left to try."""
        return self._configs

    def default(self, problem: Problem, device: Device) -> Config:
        """The kernel's."""
        return self._kernel.default(problem, device)

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """As the kernel says."""
        return self._kernel.is_alike(problem, other)

    def workload(self, problem: Problem, index: int) -> Workload:
        """The kernel's."""
        return self._kernel.workload(problem, index)

    def is_covered(self, found: Choice | None) -> bool:
        """Whether another sweep answers by now: another process has tried the new configs meanwhile."""
        return found is not None and found.sweep is not None and found.sweep.uid != self._before.uid


def remaining(case: Case, found: Choice, store: _Whole, environment: Environment | None) -> Remaining | None:
    """What is left to try for a case that has an answer; None where stored trials cover the whole space.

    Trials of another environment do not count, and of a sweep that was cut short nothing is taken up again: its
    answer is as good as its budget was.
    """
    answer = found.sweep
    if answer is None or found.source != "store" or not answer.complete:
        return None
    space = case.kernel.space(case.problem, case.device)
    trials = answer.trials or list(_trials(store, [answer.uid]))
    if not trials or not _untried(space, trials):  # none: in a store that keeps them elsewhere
        return None
    sweeps = store.get_sweeps(case.problem, case.device, case.kernel.hash)
    trials = list(_trials(store, [one.uid for one in sweeps if one.environment == environment]))
    won = {one.config for one in sweeps}  # also of sweeps whose trials are elsewhere
    new = [config for config in _untried(space, trials) if config not in won]
    if not new:
        return None
    fast = _fastest(trials, set(space))[:KEPT]
    default = case.kernel.default(case.problem, case.device)
    return Remaining(case.kernel, list(dict.fromkeys([default, found.config, *fast, *new])), answer)


def _trials(store: _Whole, uids: Iterable[str]) -> Iterator[Trial]:
    for page in store.get_whole(list(uids)):
        for sweep in page:
            yield from sweep.trials


def _untried(space: Sequence[Config], trials: Sequence[Trial]) -> list[Config]:
    tried = {trial.config for trial in trials}
    return [config for config in space if config not in tried]


def _fastest(trials: Sequence[Trial], space: set[Config]) -> list[Config]:
    times: Mapping[Config, float] = {
        one.config: one.time_us for one in trials if one.status == "ok" and one.time_us and one.config in space
    }
    return sorted(times, key=times.__getitem__)
