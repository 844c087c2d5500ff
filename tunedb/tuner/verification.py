"""Verification of a stored winner: is its result right, and is it still no slower than the default?"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tunedb._internal.control import let_pass
from tunedb.core.kernel import Workload
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, TrialStatus
from tunedb.core.task import TuningTask
from tunedb.core.verification import Verification
from tunedb.errors import CallerError, HostFaultError, SettingError, TrialError
from tunedb.runtime.clock import WallClock, untraced
from tunedb.runtime.compile_pool import CompilePool, pool_of, workers
from tunedb.runtime.failures import reason_of_one, typed_errors
from tunedb.sweep.observer import Observer
from tunedb.sweep.race import MARGIN, Race, is_beaten
from tunedb.sweep.sampling import Sample

if TYPE_CHECKING:
    from tunedb.tuner.tuner import Tuner

MOVED_RATIO = 0.05  # by judgement: a time that differs by more than this from the stored one is reported


def verify(tuner: Tuner, task: TuningTask, sweep: Sweep, observer: Observer, *, rivals: int = 0) -> Verification:
    """Check the sweep's winner and race it against the default, on the task's device.

    Up to so many `rivals` of its own sweep race too: its runners-up, which come with its trials.
    Raises StickyDeviceError if the device is lost.
    """
    try:
        with tuner.alone(task) as is_alone:
            if not is_alone:
                return Verification("untried", "another process is tuning this problem")
            return _verify(tuner, task, sweep, observer, _runners_up(task, sweep)[:rivals])
    except (torch.OutOfMemoryError, MemoryError):
        return Verification("untried", "too little memory is free")
    except (CallerError, HostFaultError, SettingError) as error:
        return Verification("untried", str(error))
    except Exception as error:  # the kernel's own code, which made no tensors for example, may raise anything
        let_pass(error)
        return Verification("untried", reason_of_one(error))


def _runners_up(task: TuningTask, sweep: Sweep) -> list[Config]:
    """Return the other configs of today's space that the sweep timed, the fastest first."""
    space = set(task.kernel.space(task.problem, task.device))
    timed = [trial for trial in sweep.trials if trial.status == TrialStatus.OK and trial.time_us is not None]
    timed.sort(key=lambda trial: (trial.time_us or 0.0, trial.config.key))
    configs = dict.fromkeys(trial.config for trial in timed if trial.config in space and trial.config != sweep.config)
    return list(configs)


def _verify(tuner: Tuner, task: TuningTask, sweep: Sweep, observer: Observer, rivals: Sequence[Config]) -> Verification:
    assert task.index is not None
    assert sweep.config is not None
    default = task.kernel.default(task.problem, task.device)
    candidates = list(dict.fromkeys((sweep.config, default, *rivals)))
    with contextlib.ExitStack() as stack:
        stack.enter_context(untraced(task.index))
        workload = stack.enter_context(closing(task.kernel.workload(task.problem, task.index)))
        clock = tuner.clock(task, task.index)
        # As many as a sweep compiles at a time, else a check of five configs takes longer than a sweep of twenty.
        # Without rivals, each at its turn: a compiler that crashes at the default must not condemn the winner.
        threads = workers() if rivals and not clock.once else 0
        pool = stack.enter_context(closing(pool_of(workload, candidates, threads)))

        def sample(config: Config, count: int) -> list[float]:
            observer.trying(config)
            with typed_errors():
                return clock.sample(workload.launcher(config), count)

        racers = []
        for config in candidates:
            observer.trying(config)
            fault = _fault(workload, pool, config)
            if fault is not None and config == sweep.config:
                return fault
            if fault is None:
                racers.append(config)
        if isinstance(clock, WallClock):  # the interpreter's times mean nothing
            return Verification("holds", time_us=sample(sweep.config, 1)[0])
        race = _once if clock.once else _raced
        comparison = race(racers, default, sample)
        if sweep.config in comparison.beaten:  # only one that loses twice is called beaten
            comparison = race(racers, default, sample)
    return _judged(sweep.config, sweep.time_us, default, comparison)


def _fault(workload: Workload, pool: CompilePool, config: Config) -> Verification | None:
    """Return why a config does not compile, run or compute what it should; None if it does."""
    try:
        pool.get(config)
        with typed_errors():
            workload.compile(config)
            wrong = workload.check(config)
    except TrialError as error:
        return Verification("fails", f"{error.status}: {error}")
    return None if wrong is None else Verification("wrong", wrong)


def _judged(winner: Config, stored_us: float | None, default: Config, comparison: _Comparison) -> Verification:
    if winner in comparison.failed:
        return Verification("fails", f"in the race: {comparison.failed[winner]}")
    ours, theirs = comparison.times[winner], comparison.times.get(default)
    if winner in comparison.beaten and (theirs is None or theirs > ours * (1 - MARGIN)):
        fastest = min(comparison.times, key=comparison.times.__getitem__)
        reason = f"{ours:.1f} us, {fastest} takes {comparison.times[fastest]:.1f} us"
        return Verification("overtaken", reason, ours, theirs)
    if theirs is not None and winner in comparison.beaten:
        return Verification("beaten", f"{ours:.1f} us, the default takes {theirs:.1f} us", ours, theirs)
    if stored_us and abs(ours / stored_us - 1) > MOVED_RATIO:
        return Verification("moved", f"{ours / stored_us - 1:+.1%} of the stored time", ours, theirs)
    return Verification("holds", "", ours, theirs)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The times of the winner and the default, and which of them was beaten."""

    times: Mapping[Config, float]  # microseconds
    failed: Mapping[Config, TrialError]
    beaten: Collection[Config]  # by another config, by the margin


def _raced(racers: Sequence[Config], default: Config, sample: Sample) -> _Comparison:
    outcome = Race(racers, default, sample).run()
    standings = outcome.standings
    beaten = [config for config in standings if is_beaten(standings[config])]
    return _Comparison({config: standing.time_us for config, standing in standings.items()}, outcome.failed, beaten)


def _once(racers: Sequence[Config], default: Config, sample: Sample) -> _Comparison:  # noqa: ARG001 - as `_raced`
    """Compare by one sample each: the clock repeats launches itself."""
    times, failed = {}, {}
    for config in racers:
        try:
            times[config] = sample(config, 1)[0]
        except TrialError as error:
            failed[config] = error
    limit = min(times.values(), default=0.0) / (1 - MARGIN)
    return _Comparison(times, failed, [config for config in times if times[config] > limit])
