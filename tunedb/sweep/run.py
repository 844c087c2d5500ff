"""One sweep: tries the candidates of a problem in a good order, races the best against the default, and chooses."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from tunedb.core.device import Environment, host
from tunedb.core.sweep import Sweep, SweepStatus, Trial, now
from tunedb.core.task import TuningTask
from tunedb.runtime.clock import Clock
from tunedb.runtime.compile_pool import pool_of, workers
from tunedb.store.ranking import RETRY_AFTER
from tunedb.sweep.history import NO_HISTORY, SweepHistory, in_order
from tunedb.sweep.observer import Observer, Recorder
from tunedb.sweep.trials import Decision, TrialRunner

# By judgement: long enough that the processes of one job do not all meet a fault of their machine, and short enough
# that calls tune soon after it was repaired.
RETRY_AFTER_FAULT = timedelta(minutes=1)
RACE_SHARE = 0.2  # of the budget, kept for the race
MAX_RACE_S = 2.0  # the most that is kept: a race takes 0.2 to 0.7 s (`race.py`) and its launches


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepContext:
    """The context of a sweep: its environment and clock, its recorder and its observer.

    `make_clock` is called once the workload holds its memory. `monotonic` reads the seconds of the budget.
    """

    environment: Environment
    make_clock: Callable[[], Clock]
    recorder: Recorder
    observer: Observer
    monotonic: Callable[[], float] = time.monotonic


def run_sweep(
    task: TuningTask,
    context: SweepContext,
    *,
    budget: float = float("inf"),
    history: SweepHistory = NO_HISTORY,
) -> Sweep:
    """Sweep a task on its device, and return the finished sweep with its trials.

    The default is tried first and every other config of the space after it, until `budget` seconds are spent: then the
    best so far wins and the sweep is `complete=False`. If that is before the incumbent has raced, it is `aborted`, with
    no winner: it would replace a config that it knows nothing about. A config that fails is a trial with its reason. If
    all fail, the sweep is `failed`, with an expiry; if the device is lost, it is `aborted` too. If this machine fails,
    it is `aborted`, with an expiry, and the configs that met the fault do not count as failed. Configs that earlier
    unfinished sweeps found to fail, or to be slow, are not tried again.

    Raises what making the workload or the clock raises, such as torch.OutOfMemoryError; then nothing was started.
    Raises CallerError if code that a user wrote fails; then the sweep is `aborted`, and no config is to blame.
    """
    kernel, problem, device = task.kernel, task.problem, task.device
    recorder, observer, monotonic = context.recorder, context.observer, context.monotonic
    assert task.index is not None  # only tasks on a device of this process are swept
    start = monotonic()
    candidates = in_order(kernel, problem, device, history)
    default = kernel.default(problem, device)
    incumbent = [] if history.incumbent is None else [history.incumbent]
    earlier = history.known_trials(candidates, [default, *incumbent, *history.likely])
    untried = [config for config in candidates if config not in earlier]
    sweep = Sweep(problem, device, kernel.hash, context.environment, SweepStatus.RUNNING, host=host())
    with closing(kernel.workload(problem, task.index)) as workload:
        clock = context.make_clock()
        # With a suspect nothing is compiled ahead: a compiler that crashes would make another config the suspect.
        threads = 0 if clock.once or history.suspects else workers()
        with closing(pool_of(workload, untried, threads)) as pool:
            runner = TrialRunner(workload, clock, pool, device, observer, monotonic)

            def record(trial: Trial) -> None:
                recorder.put_trial(sweep.uid, trial)
                observer.tried(trial, runner.best_us(), runner.time_us(default))

            try:
                recorder.start_sweep(sweep)
                observer.started(sweep, len(candidates))
                for trial in earlier.values():
                    runner.put_known(trial)
                    record(trial)
                screened_by = start + budget - min(RACE_SHARE * budget, MAX_RACE_S)
                for number, config in enumerate(untried):
                    # The first one is waited for in any case: it is what a call gets without a sweep.
                    if runner.is_over or (number and not pool.is_done(config, screened_by - monotonic())):
                        break
                    record(runner.try_config(config))
                is_complete = len(runner.trials) == len(candidates)
                order = list(dict.fromkeys((default, *kernel.space(problem, device))))
                decision = runner.decide(default, history.incumbent, order, lambda: monotonic() >= start + budget)
                is_complete = is_complete and decision.is_complete
                if not is_complete and history.incumbent is not None and not runner.is_judged(history.incumbent):
                    decision = dataclasses.replace(decision, winner=None)
                sweep = _concluded(sweep, runner, decision, complete=is_complete)
            # The error is raised again, and what the program raises too: but the store must not call the sweep running
            # for ever, nor the next sweep suspect the config at hand of having ended the process.
            except BaseException:
                recorder.finish_sweep(
                    dataclasses.replace(_counted(sweep, runner, complete=False), status=SweepStatus.ABORTED)
                )
                raise
    recorder.finish_sweep(sweep)
    observer.finished(sweep)
    return sweep


def _counted(sweep: Sweep, runner: TrialRunner, *, complete: bool) -> Sweep:
    trials = tuple(runner.trials.values())
    counts = dict(Counter(str(trial.status) for trial in trials))
    return dataclasses.replace(sweep, trials=trials, counts=counts, complete=complete, finished=now())


def _concluded(sweep: Sweep, runner: TrialRunner, decision: Decision, *, complete: bool) -> Sweep:
    sweep = _counted(sweep, runner, complete=complete)
    if runner.is_device_lost:
        return dataclasses.replace(sweep, status=SweepStatus.ABORTED, complete=False)
    if runner.met_host_fault:  # what was measured until then may be the slowest of all
        expires = now() + RETRY_AFTER_FAULT
        return dataclasses.replace(sweep, status=SweepStatus.ABORTED, complete=False, expires=expires)
    if decision.winner is not None:
        return dataclasses.replace(
            sweep, status=SweepStatus.TUNED, config=decision.winner, time_us=decision.time_us,
            default_time_us=decision.default_us,
        )  # fmt: skip
    if not complete:  # a config that was not tried may be right
        return dataclasses.replace(sweep, status=SweepStatus.ABORTED)
    return dataclasses.replace(sweep, status=SweepStatus.FAILED, expires=now() + RETRY_AFTER)
