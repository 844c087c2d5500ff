"""Whether a stored winner still holds: it is right, and not slower than the default, as it is measured now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.errors import CallerError, SettingError, TrialError
from tunedb.runtime.clock import WallClock, untraced
from tunedb.runtime.failures import typed_errors
from tunedb.sweep.observer import Observer
from tunedb.sweep.race import MARGIN, Race, is_beaten
from tunedb.sweep.sampling import Sample
from tunedb.tuner.choice_cache import TuningTask

if TYPE_CHECKING:
    from tunedb.tuner.tuner import Tuner

MOVED = 0.05  # of the stored time: a time that differs by more is told


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one stored winner: `holds`, `moved` (another time, still the best of the two), or a fault.

    The faults are `wrong`, `fails` and `beaten` (by the default, by the margin). `untried` says nothing about it.
    """

    verdict: str
    reason: str = ""
    time_us: float | None = None  # now
    default_time_us: float | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the sweep should not be used any more."""
        return self.verdict in ("wrong", "fails", "beaten")


def verify(tuner: Tuner, case: TuningTask, sweep: Sweep, observer: Observer) -> Finding:
    """Check the sweep's winner and race it against the default, on the device that is here.

    Raises StickyDeviceError where the device is lost.
    """
    try:
        with tuner.alone(case) as is_alone:
            if not is_alone:
                return Finding("untried", "another process is tuning this problem")
            return _verify(tuner, case, sweep, observer)
    except (torch.OutOfMemoryError, MemoryError):
        return Finding("untried", "too little memory is free")
    except (CallerError, SettingError) as error:
        return Finding("untried", str(error))


def _verify(tuner: Tuner, case: TuningTask, sweep: Sweep, observer: Observer) -> Finding:
    assert case.index is not None
    assert sweep.config is not None
    with untraced(case.index):
        workload = case.kernel.workload(case.problem, case.index)
        try:
            clock = tuner.clock(case, case.index)

            def sample(config: Config, count: int) -> list[float]:
                observer.trying(config)
                with typed_errors():
                    return clock.sample(workload.launcher(config), count)

            default = case.kernel.default(case.problem, case.device)
            racers = []
            for config in dict.fromkeys((sweep.config, default)):
                observer.trying(config)
                try:
                    with typed_errors():
                        workload.compile(config)
                        wrong = workload.check(config)
                except TrialError as error:
                    wrong = f"{error.status}: {error}"
                    if config == sweep.config:
                        return Finding("fails", wrong)
                if wrong is not None and config == sweep.config:
                    return Finding("wrong", wrong)
                if wrong is None:
                    racers.append(config)
            if isinstance(clock, WallClock):  # in the interpreter times mean nothing
                return Finding("holds", time_us=sample(sweep.config, 1)[0])
            race = _once if clock.once else _raced
            found = race(racers, default, sample)
            if sweep.config in found.beaten:  # to be called so it has to lose twice
                found = race(racers, default, sample)
        finally:
            workload.close()
    if sweep.config in found.failed:
        return Finding("fails", f"in the race: {found.failed[sweep.config]}")
    ours, theirs = found.times[sweep.config], found.times.get(default)
    if theirs is not None and sweep.config in found.beaten:
        return Finding("beaten", f"{ours:.1f} us, the default takes {theirs:.1f} us", ours, theirs)
    if sweep.time_us and abs(ours / sweep.time_us - 1) > MOVED:
        return Finding("moved", f"{ours / sweep.time_us - 1:+.1%} of the stored time", ours, theirs)
    return Finding("holds", "", ours, theirs)


@dataclass(frozen=True, slots=True)
class _Found:
    times: Mapping[Config, float]  # microseconds
    failed: Mapping[Config, TrialError]
    beaten: Collection[Config]  # those that another one beat by the margin


def _raced(racers: Sequence[Config], default: Config, sample: Sample) -> _Found:
    outcome = Race(racers, default, sample).run()
    standings = outcome.standings
    beaten = [config for config in standings if is_beaten(standings[config])]
    return _Found({config: standing.time_us for config, standing in standings.items()}, outcome.failed, beaten)


def _once(racers: Sequence[Config], default: Config, sample: Sample) -> _Found:  # noqa: ARG001 - as `_raced`
    """What a clock that has its last word at once says."""
    times, failed = {}, {}
    for config in racers:
        try:
            times[config] = sample(config, 1)[0]
        except TrialError as error:
            failed[config] = error
    limit = min(times.values(), default=0.0) / (1 - MARGIN)
    return _Found(times, failed, [config for config in times if times[config] > limit])
