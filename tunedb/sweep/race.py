"""The race of the finalists: which config is fastest, and whether it beats the default by the margin.

Pure, and compared with neighbours only, as in screening.py.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.sweep.sampling import TURN_US, Sample, is_long, launches_in_turn

# By judgement, like all below that names no source; tests/sweep/test_race.py holds what comes out of them to bounds, on
# simulated devices. Shares of a time:
MARGIN = 0.02  # the default keeps its place unless it is beaten by this much
TIE = 0.01  # configs this close to the fastest are equals: the first in order takes it
PRECISION = 0.004  # a ratio whose interval is this narrow needs no more rounds
CONFIDENCE = 0.95  # of the interval of a ratio

CLEAR_RATIO, CLEAR_ROUNDS = 1.05, 3  # out of the race if so far behind the fastest in each of the first rounds
MIN_ROUNDS = 6  # the sign test has no interval for fewer
MIN_ROUNDS_IF_TORN = 12  # while the default looks beaten, but not for certain; twice as many if they are one way
MAX_ROUNDS = 200

L2_FLUSH_US = 40.0  # that the GPU takes, about, to write over its L2 before each launch
# All include these writes. A GPU's clocks take so long to settle: shorter races read times that longer ones do not
# confirm (five sweeps of a 4 us kernel, 9 ms each, differed by 5 %).
MIN_RACE_US = 2e5
MIN_STEADY_RACE_US = 5e4  # if the fastest's turns are steady: a longer run would confirm its time
# A race ends undecided after this, but not before its first rounds. The second is for each config of the sweep:
# triton.autotune runs each for 0.125 s, and a sweep of few configs is not to take longer.
MAX_RACE_US, MAX_RACE_EACH_US = 7e5, 1e5


@dataclass(frozen=True, slots=True)
class Standing:
    """The standing of one config in the race. Times of one race can be compared with each other."""

    time_us: float  # median, on the scale of the fastest's
    p20_us: float
    p80_us: float
    samples: int
    over: float  # its time over the fastest's: the median of the rounds' ratios
    least: float  # the lower end of its confidence interval; with too few rounds for one, the least ratio


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a race."""

    standings: Mapping[Config, Standing]
    rounds: int
    settled: bool  # False if the time was spent before the order was certain
    failed: Mapping[Config, TrialError]  # those that failed in it


class Race:
    """Rounds in which the finalists run forth and back (A B C, C B A), starting with another one each time.

    So a drift affects all of them alike: a steady one cancels within each round. If a launch takes longer than a turn,
    a round is one way only, and the next one runs the same order the other way: a steady drift cancels in the two.

    Two configs are compared by the ratios of their times in each round. One that is certainly slower than a tie with
    the fastest drops out; the default drops out once it is certainly beaten by the margin. The race ends when every
    ratio certainly lies on one side of the line that matters, or is known well enough; or when the time is spent.
    """

    def __init__(
        self,
        finalists: Sequence[Config],
        default: Config,
        sample: Sample,
        *,
        configs: int = 0,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Make a race. `configs` is the number in the sweep, if more; `monotonic` reads the host's seconds."""
        self._default = default
        self._sample = sample
        self._monotonic = monotonic
        self._max_us = min(MAX_RACE_US, MAX_RACE_EACH_US * max(configs, len(finalists)))
        self._active = list(finalists)
        self._turns: dict[Config, list[float]] = {config: [] for config in finalists}  # medians by round
        self._samples: dict[Config, list[float]] = {config: [] for config in finalists}
        self._failed: dict[Config, TrialError] = {}
        self._dropped: dict[Config, float] = {}  # with a bound that their time over the fastest's certainly exceeds
        self._spent = 0.0

    def run(self, is_late: Callable[[], bool] = lambda: False) -> Outcome:
        """Race until the order is settled or the time is spent. Raises StickyDeviceError if sampling does."""
        rounds, settled = 0, False
        while self._active and rounds < MAX_ROUNDS and not (rounds and is_late()):
            if self._spent >= self._max_us and rounds >= self._min_rounds():
                break
            self._round(rounds)
            rounds += 1
            settled = self._settle() and rounds >= MIN_ROUNDS
            if settled and self._spent >= MIN_STEADY_RACE_US and (self._spent >= MIN_RACE_US or self._is_steady()):
                break
        return Outcome(self._standings(), rounds, settled, self._failed)

    def _min_rounds(self) -> int:
        """Return how many rounds there are in any case; more if the default looks beaten by the margin."""
        standing = self._standings().get(self._default)
        is_torn = standing is not None and not is_beaten(standing) and standing.over * (1 - MARGIN) >= 1
        return MIN_ROUNDS_IF_TORN * (2 if self._is_one_way() else 1) if is_torn else MIN_ROUNDS

    def _is_one_way(self) -> bool:
        return is_long(self._samples[self._active[0]][:3] or [0.0])

    def _is_steady(self) -> bool:
        """Say whether a longer run would confirm the fastest's time."""
        turns = self._turns[self._leader()] if self._active else []
        half = len(turns) // 2
        return half > 0 and abs(median(turns[:half]) / median(turns[half:]) - 1) <= PRECISION

    def _round(self, number: int) -> None:
        is_one_way = self._is_one_way()
        shift = ((number + 1) // 2 if is_one_way else number) % len(self._active)
        order = [*self._active[shift:], *self._active[:shift]]
        passes = [*order, *reversed(order)]
        if is_one_way:
            passes = passes[: len(order)] if number % 2 else passes[len(order) :]
        turns: dict[Config, list[float]] = {config: [] for config in order}
        start, before = self._monotonic(), self._spent
        for config in passes:
            if config in self._failed:
                continue
            try:
                taken = self._sample(config, launches_in_turn(self._samples[config][:3] or [TURN_US], 5))
            except TrialError as error:
                # Only its text: its traceback holds this race, and the tensors of a launch.
                self._failed[config] = TrialError(error.status, str(error))
                self._active.remove(config)
                continue
            self._samples[config] += taken
            turns[config].append(median(taken))
            self._spent += sum(taken) + L2_FLUSH_US * len(taken)
        self._spent = max(self._spent, before + (self._monotonic() - start) * 1e6)  # a host that is slower than the GPU
        for config in self._active:
            self._turns[config].append(fmean(turns[config]))

    def _leader(self) -> Config:
        turns = zip(*(self._turns[config] for config in self._active), strict=True)
        means = [fmean(map(math.log, times)) for times in turns]
        return min(
            self._active,
            key=lambda config: median(math.log(t) - mean for t, mean in zip(self._turns[config], means, strict=True)),
        )

    def _ratios(self, config: Config, leader: Config) -> list[float]:
        return sorted(mine / its for mine, its in zip(self._turns[config], self._turns[leader], strict=False))

    def _settle(self) -> bool:
        """Drop the configs that have certainly lost; return whether nothing is left to find out."""
        if not self._active:
            return True
        leader, certain = self._leader(), True
        for config in [config for config in self._active if config != leader]:
            ratios = self._ratios(config, leader)
            low, high = interval(ratios)
            if CLEAR_ROUNDS <= len(ratios) < MIN_ROUNDS and ratios[0] > CLEAR_RATIO:
                low = ratios[0]
            if config == self._default and high <= 1 / (1 - MARGIN):
                return True  # no config beats it
            line = 1 / (1 - MARGIN) if config == self._default else 1 + TIE
            if low > line:
                self._active.remove(config)
                self._dropped[config] = line * (1 + 1e-9)
            elif high - low > PRECISION and not (leader == self._default and low > 1 - MARGIN) and high > line:
                certain = False
        return certain

    def _standings(self) -> dict[Config, Standing]:
        if not self._active or not self._turns[self._active[0]]:
            return {}
        leader = self._leader()
        times = self._turns[leader]
        time_us = median(times[len(times) // 2 :])  # of the later half: closer to what a long run takes
        standings = {}
        for config, turns in self._turns.items():
            if turns and config not in self._failed:
                ratios = [1.0] if config == leader else self._ratios(config, leader)
                low, bound = interval(ratios)[0], self._dropped.get(config, 0.0)  # its few rounds prove less than that
                over, least = max(median(ratios), bound), max(low if low > 0 else ratios[0], bound)
                standings[config] = _standing(time_us * over, self._samples[config], over, least)
        return standings


def is_beaten(standing: Standing) -> bool:
    """Say whether a config has lost by the margin, and has certainly lost at all."""
    return standing.over * (1 - MARGIN) >= 1 and standing.least > 1


def _standing(time_us: float, samples: list[float], over: float, least: float) -> Standing:
    ordered, count = sorted(samples), len(samples)
    scale = time_us / median(ordered)
    p20, p80 = ordered[(count - 1) // 5] * scale, ordered[-1 - (count - 1) // 5] * scale
    return Standing(time_us, min(p20, time_us), max(p80, time_us), count, over, least)


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the confidence interval of the median of sorted values, by the sign test, for any distribution.

    The interval is infinite for fewer than six values.
    """
    outer = _outside(len(ordered))
    return (ordered[outer], ordered[-1 - outer]) if outer >= 0 else (-math.inf, math.inf)


@functools.cache
def _outside(count: int) -> int:
    """Return how many of `count` ordered values lie beyond each end of the interval; -1 if they are too few for one."""
    tail, outer = 0.0, -1
    for below in range(count // 2):
        tail += math.comb(count, below) / 2**count
        if 2 * tail > 1 - CONFIDENCE:
            break
        outer = below
    return outer


def choose(over: Mapping[Config, float], default: Config, order: Sequence[Config], *, beaten: bool = True) -> Config:
    """Return the winner by the configs' times over a common one: the fastest; of near-ties, the first in order.

    The default keeps its place if no config beats it by the margin, or if it is not certainly `beaten` at all. If it
    failed, it does not count.
    """
    if not beaten and default in over:
        return default
    fastest = min(over.values())
    limit = min(fastest * (1 + TIE), over.get(default, math.inf) * (1 - MARGIN))
    able = [config for config in over if over[config] <= limit]
    return min(able, key=order.index) if able else default
