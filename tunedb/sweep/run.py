"""One sweep: try the candidates of one problem in a good order, race the best against the default, choose."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from tunedb.core.device import Device, Environment, host
from tunedb.core.kernel import TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, SweepStatus, now
from tunedb.runtime.clock import Clock
from tunedb.runtime.compile_pool import CompilePool, workers
from tunedb.sweep.history import NO_HISTORY, SweepHistory, in_order
from tunedb.sweep.observer import Observer, Recorder
from tunedb.sweep.trials import TrialRunner

RETRY_AFTER = timedelta(days=1)  # a problem whose candidates all failed is tried again after this
RACE_SHARE = 0.2  # of the budget, kept for the race
MAX_RACE_S = 2.0  # the most that is kept: a race takes 0.2 to 0.7 s (`race.py`) and its launches


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepContext:
    """What a sweep runs on and with: the device and its clock, and who keeps and hears of its trials.

    `index` is the device's in this process, -1 for the interpreter. `make_clock` is called once the workload holds its
    memory. `monotonic` reads the seconds that the budget is counted in.
    """

    device: Device
    index: int
    environment: Environment
    make_clock: Callable[[], Clock]
    recorder: Recorder
    observer: Observer
    monotonic: Callable[[], float] = time.monotonic


def run_sweep(
    kernel: TunableKernel,
    problem: Problem,
    context: SweepContext,
    *,
    budget: float = float("inf"),
    history: SweepHistory = NO_HISTORY,
) -> Sweep:
    """Sweep one problem, and return the finished sweep with its trials.

    The default is tried first and every other config of the space after it, until `budget` seconds are spent: then the
    best so far wins and the sweep is `complete=False`. A config that fails is a trial with its reason. If all fail, the
    sweep is `failed`, with an expiry; if the device is lost, it is `aborted`, with no winner. Configs that earlier
    unfinished sweeps found to fail, or to be slow, are not tried again.

    Raises what making the workload or the clock raises, such as torch.OutOfMemoryError; then nothing was started.
    Raises CallerError if code that a user wrote fails; then the sweep is `aborted`, and no config is to blame.
    """
    device, recorder, observer, monotonic = context.device, context.recorder, context.observer, context.monotonic
    start = monotonic()
    candidates = in_order(kernel, problem, device, history)
    default = kernel.default(problem, device)
    incumbent = [] if history.incumbent is None else [history.incumbent]
    known = history.known_trials(candidates, [default, *incumbent, *history.likely])
    untried = [config for config in candidates if config not in known]
    sweep = Sweep(problem, device, kernel.hash, context.environment, SweepStatus.RUNNING, host=host())
    with closing(kernel.workload(problem, context.index)) as workload:
        clock = context.make_clock()
        threads = 0 if clock.once else workers()
        with closing(CompilePool(workload.prepare, untried, threads, getattr(workload, "compile_job", None))) as ahead:
            attempt = TrialRunner(workload, clock, ahead, device, observer)
            try:
                recorder.start_sweep(sweep)
                observer.started(sweep, len(candidates))
                for trial in known.values():
                    attempt.put_known(trial)
                    recorder.put_trial(sweep.uid, trial)
                    observer.tried(trial, attempt.best_us(), attempt.time_of(default))
                screened_by = start + budget - min(RACE_SHARE * budget, MAX_RACE_S)
                for number, config in enumerate(untried):
                    # The first one is waited for in any case: it is what a call gets without a sweep.
                    if attempt.lost or (number and not ahead.is_done(config, screened_by - monotonic())):
                        break
                    trial = attempt.try_config(config)
                    recorder.put_trial(sweep.uid, trial)
                    observer.tried(trial, attempt.best_us(), attempt.time_of(default))
                complete = len(attempt.trials) == len(candidates)
                order = list(dict.fromkeys((default, *kernel.space(problem, device))))
                screened = dict(attempt.trials)
                winner, raced = attempt.winner(default, history.incumbent, order, lambda: monotonic() >= start + budget)
                for config, trial in attempt.trials.items():
                    if trial != screened.get(config):
                        recorder.put_trial(sweep.uid, trial)
                sweep = _conclude(sweep, attempt, default, winner, complete=complete and raced)
            # Whatever went wrong is raised again. But the store must not call the sweep running for ever.
            except Exception:
                recorder.finish_sweep(
                    dataclasses.replace(_counted(sweep, attempt, complete=False), status=SweepStatus.ABORTED)
                )
                raise
    recorder.finish_sweep(sweep)
    observer.finished(sweep)
    return sweep


def _counted(sweep: Sweep, attempt: TrialRunner, *, complete: bool) -> Sweep:
    trials = tuple(attempt.trials.values())
    counts = dict(Counter(str(trial.status) for trial in trials))
    return dataclasses.replace(sweep, trials=trials, counts=counts, complete=complete, finished=now())


def _conclude(sweep: Sweep, attempt: TrialRunner, default: Config, winner: Config | None, *, complete: bool) -> Sweep:
    sweep = _counted(sweep, attempt, complete=complete)
    if attempt.lost:
        return dataclasses.replace(sweep, status=SweepStatus.ABORTED, complete=False)
    if winner is None:
        if not complete:  # one that was not tried may be right
            return dataclasses.replace(sweep, status=SweepStatus.ABORTED)
        return dataclasses.replace(sweep, status=SweepStatus.FAILED, expires=now() + RETRY_AFTER)
    time_us = attempt.time_of(winner)
    assert time_us is not None  # what may win was timed
    default_us = attempt.time_of(default)
    if default in attempt.over:  # compared beside the winner, so that a drift is in neither
        default_us = time_us * attempt.over[default] / attempt.over[winner]
    return dataclasses.replace(
        sweep, status=SweepStatus.TUNED, config=winner, time_us=time_us, default_time_us=default_us
    )
