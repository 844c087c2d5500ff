"""The state of stored sweeps for people: which one answers, stale, pinned, quarantined, cut short."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import groupby

from tunedb.core.device import OWN_BENCHMARK, Device, Environment
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, SweepStatus, now
from tunedb.store.ranking import obstacle, winner


@dataclasses.dataclass(frozen=True, slots=True)
class SweepState:
    """What a sweep's row does not say by itself. `stale` is None on a device that is not the current one."""

    sweep: Sweep
    answers: bool
    stale: bool | None

    def notes(self) -> list[str]:
        """Return the state in words; empty for a valid sweep without marks that tried every config."""
        sweep = self.sweep
        words = [
            ("pinned", sweep.is_pinned),
            ("quarantined", sweep.is_quarantined),
            ("stale", bool(self.stale)),
            ("cut short", sweep.status == SweepStatus.TUNED and not sweep.complete),
            ("imported", sweep.origin != "local"),
        ]
        return [word for word, holds in words if holds]


class States:
    """The states of sweeps, as calls on the current device see them. The device is asked for at the first sweep.

    `unlisted` returns the sweeps of an identity that are not among those whose states are asked for, and may answer.
    """

    def __init__(
        self,
        moment: datetime | None = None,
        unlisted: Callable[[Problem, Device, str], list[Sweep]] = lambda *_: [],
    ) -> None:
        self._moment = moment or now()
        self._unlisted = unlisted
        self._current: tuple[Device, Environment] | None = None
        self._is_known = False

    def of_all(self, sweeps: Iterable[Sweep]) -> Iterator[SweepState]:
        """Yield the states of sweeps, of which those of one problem and device follow each other.

        A sweep answers if it is the winner of its problem, device and kernel hash: calls of that code get its config.
        """
        for _, alike in groupby(sweeps, key=lambda sweep: (sweep.problem, sweep.device)):
            group = list(alike)
            others = {sweep.kernel_hash: self._unlisted(*_identity(sweep)) for sweep in group}
            if len(group) == 1 and not any(others.values()):  # as most are: nothing to rank
                yield SweepState(group[0], obstacle(group[0], now=self._moment) is None, self._is_stale(group[0]))
                continue
            winners: set[str] = set()
            for kernel_hash, unlisted in others.items():
                same = [*(sweep for sweep in group if sweep.kernel_hash == kernel_hash), *unlisted]
                best = winner(same, self._environment(same[0]), now=self._moment)
                winners |= set() if best is None else {best[0].uid}
            for sweep in group:
                yield SweepState(sweep, sweep.uid in winners, self._is_stale(sweep))

    def of_one(self, sweep: Sweep, others: Iterable[Sweep]) -> SweepState:
        """Return the state of a sweep among the others of its problem, on any device."""
        same = [other for other in others if other.device == sweep.device and other.uid != sweep.uid]
        return next(state for state in self.of_all([*same, sweep]) if state.sweep.uid == sweep.uid)

    def _is_stale(self, sweep: Sweep) -> bool | None:
        environment = self._environment(sweep)
        return None if environment is None else not sweep.is_valid_in(environment)

    def _environment(self, sweep: Sweep) -> Environment | None:
        """Return the environment of calls on the sweep's device; None if that is not the current device."""
        if not self._is_known:
            self._current, self._is_known = current(), True
        if self._current is None or self._current[0] != sweep.device:
            return None
        environment = self._current[1]
        own = sweep.environment.has_own_benchmark
        return dataclasses.replace(environment, method=OWN_BENCHMARK) if own else environment


def _identity(sweep: Sweep) -> tuple[Problem, Device, str]:
    return sweep.problem, sweep.device, sweep.kernel_hash


def current() -> tuple[Device, Environment] | None:
    """Return the current device and its environment; None if torch or Triton is missing."""
    from tunedb.cli.device import current_placement
    from tunedb.runtime.clock_method import method_for
    from tunedb.runtime.current_device import environment

    try:
        placement = current_placement()
        if placement.index is None:
            return None
        return placement.device, environment(placement.device.backend, method_for(placement.index))
    except ModuleNotFoundError:  # then nothing runs here
        return None
