"""The parent of `tunedb.worker.child`: gives it problems, and ends it where it hangs or crashes.

The config that was being tried then becomes a failed trial of an aborted sweep, and a fresh process goes on without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, SweepStatus, Trial, TrialOutcome, TrialStatus, now
from tunedb.errors import SweepError
from tunedb.settings import Settings
from tunedb.store import Store
from tunedb.sweep.observer import Observer, suspect_of
from tunedb.tuner.verification import Finding

STARTING = 300.0  # seconds that importing torch and making a CUDA context may take on a busy machine
STEP = 120.0  # seconds for one step of a trial: compiling it, or checking and timing it
GRACE = 10.0  # seconds after its budget in which a sweep ends of itself
RESTARTS = 5  # of the process, for one problem

# By which a process ends itself: what it ran is to blame. Any other signal comes from outside, such as from a person or
# from a system that is out of memory.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}

_log = logging.getLogger("tunedb")


@dataclass(frozen=True)
class _Death:
    """How the process ended in a task: the trial's status and reason, the config it was at, the sweep it was in.

    The status is None where the config has no part in it.
    """

    status: str | None
    reason: str
    suspect: Config | None
    sweep_uid: str | None


class Supervisor:
    """One worker process at a time, started when it is needed, on one device and one store.

    `step` is the number of seconds after which a trial that does not get on is given up.
    """

    def __init__(self, store: Store, settings: Settings, index: int, step: float = STEP) -> None:
        self._store = store
        self._settings = settings
        self._index = index
        self._step = step
        self._child: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def tune(
        self,
        kernel: str,
        problem: Problem,
        arguments: Mapping[str, Any] | None = None,
        *,
        force: bool,
        budget: float,
        observer: Observer,
    ) -> tuple[str, Sweep | None]:
        """See `worker.tune_case`. A config that hangs, crashes or loses the device costs its trial and a restart.

        `arguments` are those that the problem was made of, where it was made of any. Raises SweepError where no process
        can be started.
        """
        begun, left, sweep = time.monotonic(), budget, None
        for number in range(1 + RESTARTS):
            if number:
                _log.warning("%s (%s): going on in a fresh process.", kernel, problem)
            task = {"do": "tune", "force": force, "budget": None if left == float("inf") else left}
            asked = {"kernel": kernel, "problem": problem.key, "arguments": arguments and dict(arguments)}
            found = self._ask(task | asked, observer, begun + budget)
            if isinstance(found, _Death):
                sweep = self._record(found, observer)
                if sweep is not None and sweep.status != "aborted":  # all was done but to say so
                    return "sweep" if sweep.status == "tuned" else sweep.status, sweep
                if found.status is not None and (sweep is None or suspect_of(sweep) is None):  # it would end so again
                    _log.error("%s (%s): the process that sweeps ended: %s.", kernel, problem, found.reason)
                    break
            else:
                sweep = None if found["uid"] is None else self._store.get_sweep(found["uid"])
                if sweep is not None:
                    observer.finished(sweep)
                if not found["lost"]:
                    return found["source"], sweep
                self._end()
            left = budget - (time.monotonic() - begun)
            if left <= 0:
                break
        else:
            _log.error("%s (%s): given up, after %d processes.", kernel, problem, 1 + RESTARTS)
        return "aborted", sweep

    def verify(self, sweep: Sweep, observer: Observer) -> Finding:
        """See `verifying.verify`. A winner that takes its process along fails; where another config does, untried."""
        task = {"do": "verify", "kernel": sweep.problem.kernel, "problem": sweep.problem.key, "uid": sweep.uid}
        found = self._ask(task, observer)
        if not isinstance(found, _Death):
            return Finding(**found["finding"])
        is_fault = found.status is not None and found.suspect == sweep.config
        return Finding("fails" if is_fault else "untried", found.reason)

    def _ask(self, task: dict[str, Any], observer: Observer, until: float = math.inf) -> dict[str, Any] | _Death:
        """What the worker answers to a task, telling the observer what happens until then; or how it ended.

        `until` is the moment, by the monotonic clock, at which its budget ends.
        """
        child = self._started()
        assert child.stdin is not None
        suspect: Config | None = None
        uid: str | None = None
        patience = self._step + self._settings.lock_timeout  # before a sweep starts, another process may hold the lock
        with contextlib.suppress(BrokenPipeError):  # its end is seen below
            child.stdin.write(json.dumps(task) + "\n")
            child.stdin.flush()
        while True:
            left = math.inf if uid is None else max(until - time.monotonic(), 0.0) + GRACE
            try:
                event = self._events.get(timeout=min(patience, left))
            except queue.Empty:
                self._end()
                if left < patience:  # nobody knows whether it would have got on
                    return _Death(None, "the time was spent", suspect, uid)
                return _Death("timeout", f"nothing happened for {patience:.0f} s", suspect, uid)
            if event is None:
                code = self._end(patience=10.0)
                if code is None:
                    return _Death("runtime_error", "the process did not come to its end", suspect, uid)
                if code < 0 and -code not in _FAULTS:
                    return _Death(None, f"the process was ended from outside, with signal {-code}", suspect, uid)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                return _Death("runtime_error", f"the process ended with {how}", suspect, uid)
            patience = self._step
            if event["event"] == "done":
                return event
            if event["event"] == "lost":
                self._end()
                return _Death("runtime_error", event["reason"], suspect, uid)
            if event["event"] == "started":
                uid = event["uid"]
                observer.started(self._store.get_sweep(event["uid"]), event["candidates"])
            elif event["event"] == "trying":
                suspect = Config(event["config"])
                observer.trying(suspect)
            elif event["event"] == "tried":
                trial = Trial(**(event["trial"] | {"config": Config(event["trial"]["config"])}))
                observer.tried(trial, event["best_us"], event["default_us"])

    def _record(self, death: _Death, observer: Observer) -> Sweep | None:
        """Give the sweep that died its end, and its suspect if that is to blame, so that the next one leaves it out.

        A sweep that was finished stays as it is. None where it died before any trial.
        """
        if death.sweep_uid is None:
            return None
        sweep = self._store.get_sweep(death.sweep_uid)
        if sweep.status == "running":
            if death.suspect is None:
                return None
            trials = {trial.config: trial for trial in sweep.trials}
            if death.status is not None:
                trial = Trial(
                    death.suspect, TrialStatus(death.status), error=death.reason, outcome=TrialOutcome.LOST_DEVICE
                )
                if death.suspect in trials:  # it died in the race
                    trial = dataclasses.replace(trial, uid=trials[death.suspect].uid)
                trials[death.suspect] = trial
                self._store.put_trial(sweep.uid, trial)
                observer.tried(trial, None, None)
            sweep = dataclasses.replace(
                sweep, status=SweepStatus.ABORTED, complete=False, finished=now(), trials=tuple(trials.values())
            )  # the store counts them
            self._store.finish_sweep(sweep)
        observer.finished(sweep)
        return sweep

    def _started(self) -> subprocess.Popen[str]:
        if self._child is not None:
            return self._child
        # `-m` looks in the current folder first, whose files may have the names of modules: only if we do so as well.
        safely = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
        end, given = os.pipe()
        try:
            self._child = subprocess.Popen(
                [sys.executable, *safely, "-m", "tunedb.worker.child", str(given)],
                stdin=subprocess.PIPE,
                stdout=2,  # what kernels print is no answer of this command
                pass_fds=[given],
                text=True,
            )
        finally:
            os.close(given)
        self._events = queue.SimpleQueue()
        threading.Thread(target=_read, args=(end, self._events), daemon=True).start()
        told = {
            "index": self._index,
            "log_level": _log.getEffectiveLevel(),
            "settings": {"store": self._settings.store, "lock_timeout": self._settings.lock_timeout},
        }
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(told) + "\n")
            self._child.stdin.flush()
        try:
            event = self._events.get(timeout=STARTING)
        except queue.Empty:
            event = None
        if event is None:
            code = self._end(10.0)
            how = "it hangs" if code is None else f"exit code {code}"
            raise SweepError(f"The process that sweeps did not start ({how}); see above.")
        return self._child

    def _end(self, patience: float = 0.0) -> int | None:
        """End the process, whatever it does; its exit code, if it ends by itself meanwhile."""
        child, self._child = self._child, None
        if child is None:
            return None
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(patience)
        child.kill()
        child.wait()
        with contextlib.suppress(BrokenPipeError):
            assert child.stdin is not None
            child.stdin.close()
        return code


def _read(end: int, events: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    with os.fdopen(end) as file, contextlib.suppress(ValueError):  # a line that was cut off by the end
        for line in file:
            events.put(json.loads(line))
    events.put(None)
