"""Whether a stored winner still holds: it is right, and not slower than the default, as it is measured now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tunedb.bench import untraced
from tunedb.compiled import typed_errors
from tunedb.errors import TrialError
from tunedb.memory import Case
from tunedb.observer import Observer
from tunedb.problem import Config
from tunedb.race import Outcome, Race, is_beaten
from tunedb.records import Sweep

if TYPE_CHECKING:
    from tunedb.tuner import Tuner

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


def verify(tuner: Tuner, case: Case, sweep: Sweep, observer: Observer) -> Finding:
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


def _verify(tuner: Tuner, case: Case, sweep: Sweep, observer: Observer) -> Finding:
    assert case.index is not None
    assert sweep.config is not None
    with untraced(case.index):
        workload = case.kernel.workload(case.problem, case.index)
        try:
            clock = tuner.clock(case.index)

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
            if clock.once:  # in the interpreter times mean nothing
                return Finding("holds", time_us=sample(sweep.config, 1)[0])
            outcome = Race(racers, default, sample).run()
            if _has_lost(outcome, sweep.config):  # to be called so it has to lose twice
                outcome = Race(racers, default, sample).run()
        finally:
            workload.close()
    if sweep.config in outcome.failed:
        return Finding("fails", f"in the race: {outcome.failed[sweep.config]}")
    ours, theirs = outcome.standings[sweep.config], outcome.standings.get(default)
    default_us = None if theirs is None else theirs.time_us
    if theirs is not None and _has_lost(outcome, sweep.config):
        reason = f"{ours.time_us:.1f} us, the default takes {theirs.time_us:.1f} us"
        return Finding("beaten", reason, ours.time_us, default_us)
    if sweep.time_us and abs(ours.time_us / sweep.time_us - 1) > MOVED:
        return Finding("moved", f"{ours.time_us / sweep.time_us - 1:+.1%} of the stored time", ours.time_us, default_us)
    return Finding("holds", "", ours.time_us, default_us)


def _has_lost(outcome: Outcome, config: Config) -> bool:
    return config in outcome.standings and is_beaten(outcome.standings[config])
