"""Simulated devices: configs with true times, samples with noise, hiccups and a drift that all configs share."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.fakes import config
from tunedb.core.problem import Config

HICCUP = 5000.0  # microseconds


@dataclass
class Landscape:
    """Samples of configs by BLOCK. `drift` is the factor at a moment, in microseconds of launches since the start."""

    times: Mapping[int, float]
    source: random.Random
    noise: float = 0.01  # relative, of a sample
    hiccups: float = 0.02  # the share of samples that take half as long again, or so much longer
    drift: Callable[[float], float] = lambda moment: 1.0
    now: float = 0.0
    launches: dict[int, int] = field(default_factory=dict)

    def sample(self, one: Config, count: int) -> list[float]:
        """Microseconds of that many launches."""
        block, found = one["BLOCK"], []
        self.launches[block] = self.launches.get(block, 0) + count
        for _ in range(count):
            taken = self.times[block] * self.drift(self.now) * math.exp(self.source.gauss(0, self.noise))
            if self.source.random() < self.hiccups:
                taken += min(0.5 * taken, HICCUP)
            self.now += taken
            found.append(taken)
        return found

    def configs(self) -> list[Config]:
        """All of them, in order; the first is the default."""
        return [config(block) for block in self.times]


def random_landscape(seed: int) -> Landscape:
    """From 2 to 40 configs within a factor of 5, many of them near-ties, on a device that may slow down or wobble."""
    source = random.Random(seed)
    best = 10 ** source.uniform(0.5, 5.7)
    spread = source.choice([0.02, 0.1, 0.5, 4.0])
    times = {block: best * (1 + spread * source.random() ** 2) for block in range(source.randrange(2, 41))}
    drift = source.choice(
        [lambda moment: 1.0, lambda moment: 1 + 0.25 * min(1.0, moment / 1e5),
         lambda moment: 1 + min(0.5, moment / 1e7), lambda moment: 1 + 0.05 * math.sin(moment / (3e4 + 5 * best)),
         lambda moment: 1.2 if moment > 5e4 else 1.0]
    )  # fmt: skip
    noise = source.choice([0.002, 0.01, 0.03 if best < 1e4 else 0.01])  # long kernels average over theirs
    return Landscape(times, source, noise, source.choice([0.0, 0.02]), drift)
