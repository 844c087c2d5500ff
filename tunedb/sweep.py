"""One sweep: compile, check and time the candidates of one problem, race the best against the default, choose."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from statistics import fmean, median
from typing import Protocol

from tunedb.bench import Clock, Timing
from tunedb.compiled import typed_errors
from tunedb.device import Device, Environment, host
from tunedb.errors import StickyDeviceError, TrialError
from tunedb.problem import Config, Problem
from tunedb.records import Sweep, Trial, now
from tunedb.tunable import Tunable, Workload

MARGIN = 0.02  # the default keeps its place unless it is beaten by this much
FINALISTS = 3
SAMPLES = 20  # per finalist and turn of the race
RETRY_AFTER = timedelta(days=1)  # a problem whose candidates all failed is tried again after this


_log = logging.getLogger("tunedb")


class Recorder(Protocol):
    """Where trials go as they are measured, and the sweep when it is finished."""

    def start_sweep(self, sweep: Sweep) -> None:
        """The sweep has begun."""

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """A trial is done."""

    def finish_sweep(self, sweep: Sweep) -> None:
        """The sweep is done; it holds its trials."""


class Observer(Protocol):
    """Who is told how a sweep goes on: a progress bar, or the log."""

    def started(self, sweep: Sweep, candidates: int) -> None:
        """The sweep has begun."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """A trial is done; the best time and the default's so far."""

    def finished(self, sweep: Sweep) -> None:
        """The sweep is done."""


class LogObserver:
    """One line to the log before a sweep inside a call, and one after it."""

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Log what is about to be tuned."""
        _log.info("Tuning %s (%s) on %s: %d candidates.", sweep.problem.kernel, sweep.problem, sweep.device, candidates)

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Nothing: a call logs no trials."""

    def finished(self, sweep: Sweep) -> None:
        """Log how it ended."""
        name, last = sweep.problem.kernel, sweep.trials[-1] if sweep.trials else None
        if sweep.status == "tuned":
            times = f"{sweep.time_us:.1f} us"
            if sweep.default_time_us is not None:
                times += f", the default {sweep.default_time_us:.1f} us"
            _log.info("Tuned %s: %s takes %s.", name, sweep.config, times)
        elif sweep.status == "failed":
            _log.warning("Tuning %s failed: no candidate is right. See: tunedb show %s", name, sweep.uid)
        elif last is not None:
            _log.error("Tuning %s was aborted at %s: %s", name, last.config, last.error or "the time was spent")


def run_sweep(
    kernel: Tunable,
    problem: Problem,
    device: Device,
    index: int,
    *,
    environment: Environment,
    clock: Callable[[int], Clock],
    recorder: Recorder,
    observer: Observer,
    budget: float = float("inf"),
    monotonic: Callable[[], float] = time.monotonic,
) -> Sweep:
    """Sweep one problem on the device of that index, and return the finished sweep with its trials.

    The default is tried first and every other config of the space after it, until `budget` seconds are spent: then
    the best so far wins and the sweep is `complete=False`. A config that fails is a trial with its reason. Where all
    fail the sweep is `failed`, with an expiry; where the device is lost it is `aborted`, with no winner.

    Raises what making the workload raises, such as torch.OutOfMemoryError; then nothing was started.
    """
    deadline = monotonic() + budget
    default = kernel.default(problem, device)
    others = [config for config in kernel.space(problem, device) if config != default]
    workload = kernel.workload(problem, index)
    try:
        timer = clock(index)
        sweep = Sweep(problem, device, kernel.hash, environment, "running", host=host())
        try:
            recorder.start_sweep(sweep)
            observer.started(sweep, 1 + len(others))
            attempt = _Attempt(workload, timer, lambda: monotonic() >= deadline)
            for config in (default, *others):
                if attempt.trials and attempt.late():
                    break
                trial = attempt.try_config(config)
                recorder.put_trial(sweep.uid, trial)
                observer.tried(trial, attempt.best(), attempt.time_of(default))
                if attempt.lost:
                    break
            sweep = _conclude(sweep, attempt, default, complete=len(attempt.trials) == 1 + len(others))
        except Exception:
            # Broad, because it is passed on: whatever went wrong, the store must not call the sweep running for ever.
            recorder.finish_sweep(dataclasses.replace(sweep, status="aborted", complete=False, finished=now()))
            raise
        finally:
            timer.close()
    finally:
        workload.close()
    recorder.finish_sweep(sweep)
    observer.finished(sweep)
    return sweep


class _Attempt:
    """The trials so far, on one workload and one clock."""

    def __init__(self, workload: Workload, clock: Clock, late: Callable[[], bool]) -> None:
        self.workload, self.clock, self.late = workload, clock, late
        self.trials: list[Trial] = []
        self.lost = False  # the device context is gone

    def try_config(self, config: Config) -> Trial:
        """Compile, check and time one config. A failure is a trial too."""
        trial = Trial(config, "ok")
        start = time.perf_counter()
        try:
            with typed_errors():
                resources = self.workload.compile(config)
            trial = dataclasses.replace(
                trial,
                compile_s=time.perf_counter() - start,
                registers=resources.registers,
                spills=resources.spills,
                shared_bytes=resources.shared_bytes,
            )
            with typed_errors():
                wrong = self.workload.check(config)
            if wrong is not None:
                trial = dataclasses.replace(trial, status="wrong", error=wrong)
            else:
                with typed_errors():
                    timing = Timing.of(self.clock.sample(self.workload.launcher(config)))
                trial = dataclasses.replace(
                    trial, time_us=timing.median, p20_us=timing.p20, p80_us=timing.p80, samples=timing.samples
                )
        except TrialError as error:
            trial = dataclasses.replace(trial, status=error.status, error=str(error))
        except StickyDeviceError as error:
            trial = dataclasses.replace(trial, status="runtime_error", error=str(error))
            self.lost = True
        self.trials.append(trial)
        return trial

    def ranked(self) -> list[Trial]:
        """The trials that are right, fastest first; equals in the order in which they were tried."""
        return sorted((t for t in self.trials if t.status == "ok"), key=lambda t: t.time_us or float("inf"))

    def best(self) -> float | None:
        """The fastest time so far, in microseconds."""
        return next((trial.time_us for trial in self.ranked()), None)

    def time_of(self, config: Config) -> float | None:
        """The time of that config, in microseconds."""
        return next((trial.time_us for trial in self.trials if trial.config == config), None)

    def race(self, finalists: Sequence[Config]) -> dict[Config, float]:
        """Microseconds of the finalists, sampled in turns that rotate until each has had each place twice.

        Within a turn they are compared with the turn's mean, so that a clock that drifts meets all of them alike.
        """
        shares: dict[Config, list[float]] = {config: [] for config in finalists}
        means = []
        for turn in range(2 * len(finalists)):
            order = [*finalists[turn % len(finalists) :], *finalists[: turn % len(finalists)]]
            times = {config: median(self.clock.sample(self.workload.launcher(config), SAMPLES)) for config in order}
            means.append(fmean(times.values()))
            for config, time_us in times.items():
                shares[config].append(time_us / means[-1])
        return {config: median(taken) * median(means) for config, taken in shares.items()}


def _conclude(sweep: Sweep, attempt: _Attempt, default: Config, *, complete: bool) -> Sweep:
    counts = dict(Counter(trial.status for trial in attempt.trials))
    sweep = dataclasses.replace(sweep, trials=tuple(attempt.trials), counts=counts, complete=complete, finished=now())
    right = attempt.ranked()
    if attempt.lost:
        return dataclasses.replace(sweep, status="aborted")
    if not right:
        if not complete:  # one that was not tried may be right
            return dataclasses.replace(sweep, status="aborted")
        return dataclasses.replace(sweep, status="failed", expires=now() + RETRY_AFTER)
    finalists = [trial.config for trial in right[:FINALISTS]]
    if default not in finalists and any(trial.config == default for trial in right):
        finalists.append(default)
    times = {trial.config: trial.time_us for trial in right if trial.config in finalists}
    if len(finalists) > 1 and not attempt.clock.once:
        try:
            times = dict(attempt.race(finalists))
        except TrialError as error:  # right and timed a moment ago: the screening has to do
            _log.warning("The race for %s was broken off: %s", sweep.problem.kernel, error)
        except StickyDeviceError as error:
            last = dataclasses.replace(sweep.trials[-1], error=f"In the race: {error}")
            return dataclasses.replace(sweep, status="aborted", trials=(*sweep.trials[:-1], last))
    winner = choose(times, default, [trial.config for trial in attempt.trials])
    return dataclasses.replace(
        sweep,
        status="tuned",
        config=winner,
        time_us=times[winner],
        default_time_us=times.get(default),
        finished=now(),
    )


def choose(times: dict[Config, float | None], default: Config, order: Sequence[Config]) -> Config:
    """The fastest; the default where nothing beats it by the margin; the first in `order` of exact equals."""
    best = min(times, key=lambda config: (times[config], order.index(config)))
    default_us, best_us = times.get(default), times[best]
    if default_us is not None and best_us is not None and best_us > default_us * (1 - MARGIN):
        return default
    return best
