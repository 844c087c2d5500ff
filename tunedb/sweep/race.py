"""Who is fastest: screening, which rules configs out after a few samples, and the race of those that are left.

Pure: samples come from a function, and no clock is read. Times of a device drift by more than configs differ, so a
config is only ever compared with what was sampled beside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tunedb.core.problem import Config
from tunedb.errors import TrialError

MARGIN = 0.02  # the default keeps its place unless it is beaten by this much
TIE = 0.01  # configs this close to the fastest are equals: the first in order takes it
INDIFFERENT = 0.004  # a ratio that is known to within this needs no more rounds

HOPELESS = 2.0  # times the best: out after two samples
SLOW = 1.25  # out after three
BEHIND = 1.1  # out after ten
FAR_BETTER = 1.5  # times as fast as what the others are compared with: takes its place
FINALISTS, FEW = 10, 6  # so many race; few where one launch takes longer than a turn

CLEAR, CLEAR_ROUNDS = 1.05, 3  # out of the race that far behind the fastest in each of the first rounds

LEAST_ROUNDS, MORE_ROUNDS, MOST_ROUNDS = 6, 12, 200  # more where the default looks beaten, for no certain
TURN = 2500.0  # microseconds that a config runs in one turn, or less
COLD = 40.0  # microseconds that the GPU takes, about, to write over its L2 before each launch
SETTLING = 2e5  # microseconds of both before which no race ends: a GPU's clocks take that long to settle
STEADY = 5e4  # the same where there is one finalist, and its turns no longer change: only its figure is wanted
LONGEST = 7e5  # microseconds of both after which a race ends undecided, but not before its first rounds
CONFIDENCE = 0.95

Sample = Callable[[Config, int], list[float]]  # microseconds of that many launches


class Screening:
    """Samples one config after the other, no longer than it takes to see that it is behind the best one so far.

    Beside each a reference is sampled again, so that a device that slows down meanwhile rules out nobody. It changes
    only for a far better one: each change adds the error of a few samples to all that come later.
    """

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._reference: Config | None = None
        self._reference_us = math.inf
        self._surely: dict[Config, float] = {}  # what each is relative to, at the most
        self.relative: dict[Config, float] = {}  # time over that of the first config that was right

    def run(self, config: Config) -> tuple[list[float], bool]:
        """Microseconds of a config, and whether it is still in the running. Raises what sampling raises."""
        if self._reference is None:
            taken = self._sample(config, 3)
            taken += self._sample(config, _launches(taken, 7))
            self._reference, self._reference_us = config, min(taken)
            self.relative[config] = self._surely[config] = 1.0
            return taken, True
        scale = self.relative[self._reference]
        taken = self._sample(config, 1)
        is_hopeless = taken[0] / self._reference_us * scale > HOPELESS * self._best
        taken += self._sample(config, 1 if is_hopeless else _launches(taken, 2))  # one alone may have been disturbed
        beside = self._beside(_launches([self._reference_us], 3))
        limit = HOPELESS if is_hopeless else SLOW
        # The least of its samples, for what disturbs a launch only makes it slower; but not of the reference's.
        is_behind = min(taken) / median(beside) * scale > limit * self._best
        if not is_behind:
            more = _launches(taken, 7)
            taken += self._sample(config, more)
            beside += self._beside(min(more, 3))
            is_behind = min(taken) / median(beside) * scale > BEHIND * self._best
        # Beside means before and after: a clock that steps while a config runs can make it look far too good.
        before, self._reference_us = self._reference_us, min(beside)
        self.relative[config] = min(taken) / self._reference_us * scale
        self._surely[config] = surely = min(taken) / min(before, self._reference_us) * scale
        if surely * FAR_BETTER < scale:
            self._reference, self._reference_us, self.relative[config] = config, min(taken), surely
        return taken, not is_behind

    def _beside(self, count: int) -> list[float]:
        """Microseconds of the reference; those of before where it fails now: that is not the other config's doing."""
        assert self._reference is not None
        try:
            return self._sample(self._reference, count)
        except TrialError:
            return [self._reference_us]

    def drop(self, config: Config) -> None:
        """Forget one that was found to fail, so that nobody is behind it any more."""
        self.relative.pop(config, None)
        self._surely.pop(config, None)

    @property
    def _best(self) -> float:
        return min(self._surely.values(), default=math.inf)

    def finalists(self, running: Sequence[Config], always: Sequence[Config]) -> list[Config]:
        """The fastest of those still running, and those of `always` that were right; fastest first."""
        near = [config for config in running if self.relative[config] <= SLOW * self._best]
        most = FINALISTS if self._reference_us < TURN else FEW
        found = sorted(near, key=lambda config: self.relative[config])[:most]
        return found + [config for config in dict.fromkeys(always) if config in self.relative and config not in found]


def _launches(taken: Sequence[float], most: int) -> int:
    """How many launches fit a turn, one at the least and `most` at the most."""
    return max(1, min(most, int(TURN / max(min(taken), 0.01))))


@dataclass(frozen=True, slots=True)
class Standing:
    """How one config did in the race. Times of one race can be compared with each other."""

    time_us: float  # median, on the scale of the fastest's
    p20_us: float
    p80_us: float
    samples: int
    over: float  # its time over the fastest's: the median of the ratios of each round
    least: float  # what that is at the least: the lower end of its confidence interval, or of so few rounds the least


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a race ended."""

    standings: Mapping[Config, Standing]
    rounds: int
    settled: bool  # False where the time was spent before the order was certain
    failed: Mapping[Config, TrialError]  # those that failed in it


class Race:
    """Rounds in which the finalists run there and back (A B C, C B A), from another one on each time.

    So a drift meets all of them alike: a steady one cancels within each round.

    Two configs are compared by the ratios of their times in each round. One that is certain to be slower than a tie
    with the fastest drops out, the default once it is certain to be beaten by the margin. The race ends when every
    ratio lies, for certain, on one side of the line that matters, or is known well enough; or when time is spent.
    """

    def __init__(self, finalists: Sequence[Config], default: Config, sample: Sample) -> None:
        self._default = default
        self._sample = sample
        self._active = list(finalists)
        self._turns: dict[Config, list[float]] = {config: [] for config in finalists}  # medians by round
        self._samples: dict[Config, list[float]] = {config: [] for config in finalists}
        self._failed: dict[Config, TrialError] = {}
        self._dropped: dict[Config, float] = {}  # with what their time over the fastest's certainly exceeds
        self._spent = 0.0

    def run(self, is_late: Callable[[], bool] = lambda: False) -> Outcome:
        """Race until the order is settled, or the time is spent. Raises StickyDeviceError where sampling does."""
        rounds, settled = 0, False
        while self._active and rounds < MOST_ROUNDS and not (rounds and is_late()):
            if self._spent >= LONGEST and rounds >= (MORE_ROUNDS if self._is_torn() else LEAST_ROUNDS):
                break
            self._round(rounds)
            rounds += 1
            settled = self._settle() and rounds >= LEAST_ROUNDS
            if settled and self._spent >= (STEADY if self._is_steady() else SETTLING):
                break
        return Outcome(self._standings(), rounds, settled, self._failed)

    def _is_torn(self) -> bool:
        """Whether the default looks beaten by the margin, and may yet be the fastest."""
        standing = self._standings().get(self._default)
        return standing is not None and not is_beaten(standing) and standing.over * (1 - MARGIN) >= 1

    def _is_steady(self) -> bool:
        """Whether there is one finalist, whose figure a longer run would confirm."""
        first, *others = self._turns.values()
        half = len(first) // 2
        return not others and abs(median(first[:half]) / median(first[half:]) - 1) <= INDIFFERENT

    def _round(self, number: int) -> None:
        shift = number % len(self._active)
        order = [*self._active[shift:], *self._active[:shift]]
        turns: dict[Config, list[float]] = {config: [] for config in order}
        for config in [*order, *reversed(order)]:
            if config in self._failed:
                continue
            try:
                taken = self._sample(config, _launches(self._samples[config][:3] or [TURN], 5))
            except TrialError as error:
                # Its words alone: what it passed through holds this race, and a launch's tensors.
                self._failed[config] = TrialError(error.status, str(error))
                self._active.remove(config)
                continue
            self._samples[config] += taken
            turns[config].append(median(taken))
            self._spent += sum(taken) + COLD * len(taken)
        for config in self._active:
            self._turns[config].append(fmean(turns[config]))

    def _leader(self) -> Config:
        means = [fmean(map(math.log, times)) for times in zip(*(self._turns[one] for one in self._active), strict=True)]
        return min(
            self._active,
            key=lambda one: median(math.log(t) - mean for t, mean in zip(self._turns[one], means, strict=True)),
        )

    def _ratios(self, config: Config, leader: Config) -> list[float]:
        return sorted(mine / its for mine, its in zip(self._turns[config], self._turns[leader], strict=False))

    def _settle(self) -> bool:
        """Drop who is certain to have lost; whether nothing is left to find out."""
        if not self._active:
            return True
        leader, certain = self._leader(), True
        for config in [one for one in self._active if one != leader]:
            ratios = self._ratios(config, leader)
            low, high = interval(ratios)
            if CLEAR_ROUNDS <= len(ratios) < LEAST_ROUNDS and ratios[0] > CLEAR:
                low = ratios[0]
            if config == self._default and high <= 1 / (1 - MARGIN):
                return True  # nobody beats it
            line = 1 / (1 - MARGIN) if config == self._default else 1 + TIE
            if low > line:
                self._active.remove(config)
                self._dropped[config] = line * (1 + 1e-9)
            elif high - low > INDIFFERENT and not (leader == self._default and low > 1 - MARGIN) and high > line:
                certain = False
        return certain

    def _standings(self) -> dict[Config, Standing]:
        if not self._active or not self._turns[self._active[0]]:
            return {}
        leader = self._leader()
        times = self._turns[leader]
        time_us = median(times[len(times) // 2 :])  # of the later half: closer to what a long run takes
        found = {}
        for config, turns in self._turns.items():
            if turns and config not in self._failed:
                ratios = [1.0] if config == leader else self._ratios(config, leader)
                low, known = interval(ratios)[0], self._dropped.get(config, 0.0)  # its few rounds say less than that
                over, least = max(median(ratios), known), max(low if low > 0 else ratios[0], known)
                found[config] = _standing(time_us * over, self._samples[config], over, least)
        return found


def is_beaten(standing: Standing) -> bool:
    """Whether one that raced has lost by the margin, and is certain to have lost at all."""
    return standing.over * (1 - MARGIN) >= 1 and standing.least > 1


def _standing(time_us: float, samples: list[float], over: float, least: float) -> Standing:
    ordered, count = sorted(samples), len(samples)
    scale = time_us / median(ordered)
    p20, p80 = ordered[(count - 1) // 5] * scale, ordered[-1 - (count - 1) // 5] * scale
    return Standing(time_us, min(p20, time_us), max(p80, time_us), count, over, least)


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """The confidence interval of the median of sorted values, whatever their distribution: that of the sign test.

    Endless with fewer than six values.
    """
    outer = _outside(len(ordered))
    return (ordered[outer], ordered[-1 - outer]) if outer >= 0 else (-math.inf, math.inf)


@functools.cache
def _outside(count: int) -> int:
    """How many of so many ordered values lie beyond each end of the interval; -1 where they are too few for one."""
    tail, outer = 0.0, -1
    for below in range(count // 2):
        tail += math.comb(count, below) / 2**count
        if 2 * tail > 1 - CONFIDENCE:
            break
        outer = below
    return outer


def choose(over: Mapping[Config, float], default: Config, order: Sequence[Config], *, beaten: bool = True) -> Config:
    """The winner by the times of configs over some common one: the fastest, where near-ties go to the first in order.

    The default keeps its place where nothing beats it by the margin, or where it is not certain to be `beaten` at all;
    where it failed it has no say.
    """
    if not beaten and default in over:
        return default
    fastest = min(over.values())
    limit = min(fastest * (1 + TIE), over.get(default, math.inf) * (1 - MARGIN))
    able = [config for config in over if over[config] <= limit]
    return min(able, key=order.index) if able else default
