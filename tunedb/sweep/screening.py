"""Screening: rules configs out after a few samples, so that only the best of them race.

Pure: samples come from a function, and no clock is read. A GPU's times drift by more than configs differ, so a config
is only ever compared with what was sampled next to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.sweep.sampling import TURN_US, Sample, is_long, launches_in_turn

# By judgement: the fewer samples, the wider the limit. tests/sweep/test_race.py holds what comes out of them to bounds.
HOPELESS_RATIO = 2.0  # times the best: out after two samples
SLOW_RATIO = 1.25  # out after three
BEHIND_RATIO = 1.1  # out after ten
FAR_BETTER_RATIO = 1.5  # times as fast as the reference: becomes the reference

# With six finalists a choice among short launches was 2.4 % behind the best, with ten 1.6 % (benchmarks/sweep.py).
MAX_FINALISTS = 10
MAX_LONG_FINALISTS = 6  # if one launch takes longer than a turn


class Screening:
    """A screening: samples one config after the other, only until it is seen to be behind the best so far.

    Next to each a reference is sampled again, so that no config is ruled out because the device slows down meanwhile.
    The reference changes only for a far better one: each change adds the error of a few samples to all that follow.
    """

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._reference: Config | None = None
        self._reference_us = math.inf
        self._at_most: dict[Config, float] = {}  # upper bounds of `relative`
        self.relative: dict[Config, float] = {}  # time over that of the first config that was right

    def run(self, config: Config) -> tuple[list[float], bool]:
        """Return the microseconds of a config, and whether it is still in the running. Raises what sampling raises."""
        if self._reference is None:
            taken = self._sample(config, 1)
            taken += self._sample(config, launches_in_turn(taken, 2))
            if not is_long(taken):
                taken += self._sample(config, launches_in_turn(taken, 7))
            self._reference, self._reference_us = config, min(taken)
            self.relative[config] = self._at_most[config] = 1.0
            return taken, True
        scale = self.relative[self._reference]
        taken = self._sample(config, 1)
        is_hopeless = taken[0] / self._reference_us * scale > HOPELESS_RATIO * self._best
        # Once more in any case, because a single launch may have been disturbed.
        taken += self._sample(config, 1 if is_hopeless else launches_in_turn(taken, 2))
        reference = self._sample_reference(launches_in_turn([self._reference_us], 3))
        limit = HOPELESS_RATIO if is_hopeless else SLOW_RATIO
        # The least of its samples, because a disturbance only makes a launch slower; but the median of the reference's.
        is_behind = min(taken) / median(reference) * scale > limit * self._best
        if not is_behind and not is_long(taken):  # else each costs too much: the race finds out
            more = launches_in_turn(taken, 7)
            taken += self._sample(config, more)
            reference += self._sample_reference(min(more, 3))
            is_behind = min(taken) / median(reference) * scale > BEHIND_RATIO * self._best
        # Sampled before and after: a clock that steps while a config runs can make it look far too good.
        before, self._reference_us = self._reference_us, min(reference)
        self.relative[config] = min(taken) / self._reference_us * scale
        self._at_most[config] = at_most = min(taken) / min(before, self._reference_us) * scale
        if at_most * FAR_BETTER_RATIO < scale:
            self._reference, self._reference_us, self.relative[config] = config, min(taken), at_most
        return taken, not is_behind

    def _sample_reference(self, count: int) -> list[float]:
        """Sample the reference; if it fails now, which is not the config's fault, its time of before counts."""
        assert self._reference is not None
        try:
            return self._sample(self._reference, count)
        except TrialError:
            return [self._reference_us]

    def drop(self, config: Config) -> None:
        """Forget a config that was found to fail, so that no other is behind it any more."""
        self.relative.pop(config, None)
        self._at_most.pop(config, None)

    @property
    def _best(self) -> float:
        return min(self._at_most.values(), default=math.inf)

    def finalists(self, running: Sequence[Config], always: Sequence[Config]) -> list[Config]:
        """Return the fastest of those still running, fastest first, then those of `always` that were right."""
        near = [config for config in running if self.relative[config] <= SLOW_RATIO * self._best]
        most = MAX_FINALISTS if self._reference_us < TURN_US else MAX_LONG_FINALISTS
        fastest = sorted(near, key=self.relative.__getitem__)[:most]
        kept = (config for config in dict.fromkeys(always) if config in self.relative)
        return fastest + [config for config in kept if config not in fastest]
