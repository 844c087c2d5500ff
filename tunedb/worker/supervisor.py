"""The parent of a worker (`tunedb.worker.child`): gives it tasks, and ends it if it hangs or crashes.

The config that was being tried then becomes a failed trial of an aborted sweep, and a new worker goes on without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import queue
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tunedb.core.claim import ClaimState
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.core.verification import Verification
from tunedb.errors import StoreError, SweepError, UnknownSweep
from tunedb.settings import Settings
from tunedb.store import Store
from tunedb.store.stored import stored_with
from tunedb.sweep.observer import LogObserver, Observer, suspect_of
from tunedb.tuner.claimant import new_owner
from tunedb.worker.death import Death, death_of
from tunedb.worker.host_cores import Presence, core_share, count_workers
from tunedb.worker.lost_sweep import abort, record_death
from tunedb.worker.messages import (
    FINISH_S,
    Answer,
    CopyRateMeasured,
    DeviceLost,
    Finish,
    MeasureCopyRate,
    Request,
    Start,
    SweepStarted,
    Tried,
    Trying,
    Tune,
    Tuned,
    Verified,
    Verify,
)
from tunedb.worker.process import Events, Started, end_process, start_process, tell
from tunedb.worker.released_claims import give_back_claims

# By judgement, for a busy machine.
MAX_START_S = 300.0  # for importing torch and making a CUDA context
MAX_STEP_S = 120.0  # for one step of a trial: compiling a config, or checking and timing it
MAX_OVERTIME_S = 10.0  # after its budget, in which a sweep ends by itself
MAX_EXIT_S = 10.0  # in which a worker that closed its events ends by itself
MAX_RELEASE_S = 3.0  # in which an interrupted worker gives back what it holds of its problem
MAX_RESTARTS = 5  # of the worker, for one problem

_log = logging.getLogger("tunedb")


class Interrupted(Exception):
    """Another thread has ended the worker."""


class Supervisor:
    """The supervisor of one worker at a time, started at its first task, on one device and one store.

    A trial that makes no progress for `step` seconds is given up, and the worker ended. The worker gets `variables` in
    its environment. All workers of this host share its cores for compiling; there are `workers` of them at least.
    The first worker is the process that is `started` already, if one is.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        index: int,
        step: float = MAX_STEP_S,
        *,
        variables: Mapping[str, str] | None = None,
        workers: int = 1,
        started: Started | None = None,
    ) -> None:
        self.store = store
        self._settings = settings
        self._index = index
        self.step = step  # seconds; a change counts from the next task on
        self._variables = variables or {}
        self._workers = workers
        self._started = started
        self._presence = Presence()
        self._owner = new_owner()
        self._is_interrupted = False
        self._child: subprocess.Popen[str] | None = None
        self._sweep_uid: str | None = None  # of the sweep that the worker is in
        self._events: Events = queue.SimpleQueue()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        if kind is not None:
            self.interrupt()
            self._end(patience=MAX_RELEASE_S)
            self._give_back(ClaimState.RELEASED)
        elif self._child is not None and self._finish() != 0:
            self._give_back(ClaimState.RELEASED)
        if self._sweep_uid is not None:  # interrupted: the worker was ended in the middle of it
            with contextlib.suppress(StoreError, UnknownSweep):  # `tunedb warm --incomplete` finds it all the same
                abort(self.store, self.store.get_sweep(self._sweep_uid))

    def let_go(self) -> None:
        """End the process that was started already if there was no task for it."""
        if self._started is not None:
            end_process(self._started[0], patience=0.0)
            self._started = None

    def tune(
        self,
        problem: Problem,
        arguments: Mapping[str, Any] | None = None,
        *,
        force: bool,
        budget: float,
        observer: Observer,
        builds_on: Sequence[str] | None = None,
        waits: bool = True,
        waited: float = 0.0,
    ) -> tuple[str, Sweep | None]:
        """Tune a problem as `child.tune_task` does. A config that hangs, crashes or loses the device costs a restart.

        A restart builds on this run's own sweeps in any case. `arguments` are those that the problem was made of, if
        they are known. Raises SweepError if no worker can be started.
        """
        start, left, sweep, state = time.monotonic(), budget, None, ClaimState.RELEASED
        for number in range(1 + MAX_RESTARTS):
            if number:
                _log.warning("%s (%s): going on in a new process.", problem.kernel, problem)
                waited = 0.0  # what has failed since then is this run's own
            if builds_on is not None and sweep is not None:
                builds_on = [*builds_on, sweep.uid]
            asked = Tune(problem, arguments, force, left, builds_on, waits, waited)
            answer = self._ask(asked, observer, start + budget)
            self._sweep_uid = None
            if isinstance(answer, Death):
                sweep = record_death(self.store, answer, observer)
                if sweep is not None and sweep.status != "aborted":  # only the answer was lost
                    return "sweep" if sweep.status == "tuned" else sweep.status, sweep
                if answer.status is not None and (sweep is None or suspect_of(sweep) is None):  # it would end so again
                    _log.error("%s (%s): the worker ended: %s.", problem.kernel, problem, answer.reason)
                    state = ClaimState.FAILED
                    break
            else:
                assert isinstance(answer, Tuned)
                sweep = None if answer.uid is None else stored_with(self.store, self._settings.bundles).find(answer.uid)
                if sweep is not None:
                    observer.finished(sweep)
                if not answer.is_device_lost:
                    return answer.outcome, sweep
                self._finish()
            left = budget - (time.monotonic() - start)
            if left <= 0:
                break
        else:
            _log.error("%s (%s): given up, after %d processes.", problem.kernel, problem, 1 + MAX_RESTARTS)
            state = ClaimState.FAILED  # each of those who wait would lose as many
        self._give_back(state)
        return "aborted", sweep

    def _give_back(self, state: ClaimState) -> None:
        give_back_claims(self._owner, self.store, self._settings.shared, state)

    def interrupt(self, *, force: bool = False) -> None:
        """End the worker for good, also from another thread; what waits raises Interrupted.

        It gives back what it holds of its problem; with `force` it has no time for that.
        """
        self._is_interrupted = True
        if (child := self._child) is not None:
            child.kill() if force else child.terminate()

    def _check_interrupt(self) -> None:
        if self._is_interrupted:
            raise Interrupted

    def verify(self, sweep: Sweep, observer: Observer, *, rivals: int = 0) -> Verification:
        """Verify a winner as `verification.verify` does. A winner that ends its worker fails.

        If another config ends the worker, the winner is `untried`. Rivals are compiled at the same time, and one that
        ends the worker may not be the suspect: then the winner is verified without them.
        """
        answer = self._ask(Verify(sweep.problem, sweep.uid, rivals), observer)
        if isinstance(answer, Death) and rivals:
            answer = self._ask(Verify(sweep.problem, sweep.uid), observer)
        if isinstance(answer, Verified):
            return answer.verification
        assert isinstance(answer, Death)
        is_fault = answer.status is not None and answer.suspect == sweep.config
        return Verification("fails" if is_fault else "untried", answer.reason)

    @property
    def is_running(self) -> bool:
        """Whether it has a worker."""
        return self._child is not None

    def measure_copy_rate(self) -> str | None:
        """Have the worker measure its device's copy rate and store it; return why it did not, or None."""
        answer = self._ask(MeasureCopyRate(), LogObserver())
        if isinstance(answer, Death):
            return answer.reason
        assert isinstance(answer, CopyRateMeasured)
        return answer.error

    def _ask(self, task: Request, observer: Observer, until: float = math.inf) -> Answer | Death:
        """Return the worker's answer to a task, or how the worker ended; the observer hears what happens until then.

        `until` is the moment, by the monotonic clock, at which the budget ends.
        """
        child = self._worker()
        if isinstance(task, Tune | Verify):
            task = dataclasses.replace(task, compiles=core_share(max(self._workers, count_workers())))
        suspect: Config | None = None
        uid: str | None = None
        patience = self.step + self._settings.lock_timeout  # before a sweep starts, another process may hold the lock
        tell(child, task)
        while True:
            left = math.inf if uid is None else max(until - time.monotonic(), 0.0) + MAX_OVERTIME_S
            try:
                event = self._events.get(timeout=min(patience, left))
            except queue.Empty:
                self._end()
                if left < patience:  # it may have made progress yet: no config is to blame
                    return Death(None, "the time was spent", suspect, uid)
                return Death("timeout", f"nothing happened for {patience:.0f} s", suspect, uid)
            self._check_interrupt()
            if event is None:
                return death_of(self._end(patience=MAX_EXIT_S), suspect, uid)
            patience = self.step
            match event:
                case Tuned() | Verified() | CopyRateMeasured():
                    return event
                case DeviceLost(reason):
                    self._finish()
                    return Death("runtime_error", reason, suspect, uid)
                case SweepStarted(uid, candidates):
                    self._sweep_uid = uid
                    observer.started(self.store.get_sweep(uid), candidates)
                case Trying(suspect):
                    observer.trying(suspect)
                case Tried(trial, best_us, default_us):
                    observer.tried(trial, best_us, default_us)

    def _worker(self) -> subprocess.Popen[str]:
        if self._child is not None:
            return self._child
        self._presence.begin()  # before the seconds that a start takes: those that start at once count each other
        self._child, self._events = self._started or start_process(self._variables)
        self._started = None
        self._check_interrupt()
        current = self._settings
        start = Start(
            self._index, _log.getEffectiveLevel(), current.store, current.shared, current.lock_timeout, self._owner,
            current.bundles,
        )  # fmt: skip
        tell(self._child, start)
        try:
            event = self._events.get(timeout=MAX_START_S)
        except queue.Empty:
            event = None
        self._check_interrupt()
        if event is None:
            code = self._end(patience=MAX_EXIT_S)
            how = "it hangs" if code is None else f"exit code {code}"
            raise SweepError(f"The worker process did not start ({how}): its own message is above. Run: tunedb doctor")
        return self._child

    def begin_to_finish(self) -> None:
        """Have a worker that has no task begin to end: several then end in the time of one."""
        if self._child is not None:
            tell(self._child, Finish())

    def _finish(self) -> int | None:
        """End a worker that has no task, once it has sent what it still has to; return its exit code, if in time."""
        return self._end(FINISH_S + MAX_RELEASE_S, Finish())

    def _end(self, patience: float = 0.0, last: Finish | None = None) -> int | None:
        """End the worker, by force if need be; return its exit code if it ends by itself within `patience` seconds."""
        self._presence.end()
        code = None if self._child is None else end_process(self._child, patience, last)
        self._child = None  # not before: until it has ended, another thread may interrupt it
        return code
