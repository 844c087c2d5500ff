"""What misses cost: the time that a launch loses without tuning, by the sweeps of the nearest tuned problems."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.tuner.nearest import MAX_DISTANCE, distance

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.upkeep import Gain
    from tunedb.store.sql.usage import ServedCount

MAX_GAINS = 5000  # of a kernel, the newest, that are read: a bound for one query
MAX_NEAR = 200  # of these, among which the nearest of each problem is sought, in about a millisecond


class LossEstimates:
    """Estimates of what a launch of a problem loses: the default's time less the winner's, in a former sweep."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gains: dict[str, list[Gain]] = {}

    def loss_us(self, problem: Problem, device: Device) -> float | None:
        """Return the microseconds that a launch loses; None if the kernel was never tuned.

        It is known for a tuned problem. For another it is that of the nearest one on this device, else on any, or the
        kernel's median if none is near.
        """
        if problem.kernel not in self._gains:
            self._gains[problem.kernel] = self._store.upkeep.gains(problem.kernel, MAX_GAINS)
        gains = self._gains[problem.kernel]
        here = [gain for gain in gains if gain.device_digest == device.digest]
        for gain in here:
            if gain.problem == problem:
                return gain.gain_us
        return _nearest(problem, (here or gains)[:MAX_NEAR])


def _nearest(problem: Problem, gains: Sequence[Gain]) -> float | None:
    best: tuple[float, float] | None = None
    for gain in gains:
        far = distance(problem, gain.problem)
        if far is not None and far <= MAX_DISTANCE and (best is None or far < best[0]):
            best = far, gain.gain_us
    if best is not None:
        return best[1]
    return statistics.median(gain.gain_us for gain in gains) if gains else None


@dataclass(frozen=True, slots=True)
class MissCost:
    """What a miss cost: its count times the microseconds that a launch loses; an unknown loss counts as the usual."""

    miss: ServedCount
    loss_us: float | None
    cost: float


def by_cost(store: Store, misses: Iterable[ServedCount]) -> list[MissCost]:
    """Return misses with what they cost, the most costly first. The usual loss is the median of the known ones."""
    estimates = LossEstimates(store)
    losses = [(miss, estimates.loss_us(miss.usage.problem, miss.usage.device)) for miss in misses]
    known = [loss for _, loss in losses if loss is not None]
    usual = statistics.median(known) if known else 1.0
    costs = [MissCost(miss, loss, miss.usage.count * (usual if loss is None else loss)) for miss, loss in losses]
    return sorted(costs, key=lambda one: (-one.cost, -one.miss.usage.count))  # equal ones stay in their order
