"""A thread that runs the accesses to a store one after the other, so that their callers can stop waiting."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.gate import Gate
from tunedb.store import at_end

IDLE_S = 2.0  # a thread without work ends after this
GIVE_UP_S = 30.0  # an access that takes this long is given up: the next one gets a thread of its own
MAX_GIVEN_UP = 4  # threads that hang at the same time; beyond that accesses wait, in a queue that callers bound
FORK_S = 2.0  # a fork waits this long, for the accesses of all threads together

_log = logging.getLogger("tunedb")
_T = TypeVar("_T")
_all: weakref.WeakSet[StoreThread] = weakref.WeakSet()
_forking = threading.local()


class Job(Generic[_T]):
    """One access, and what came of it once it is done."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work: Callable[[], _T] | None = work
        self._done = Gate()
        self._began: float | None = None
        self.value: _T | None = None  # what the work returned; None if it was cancelled or raised

    def run(self) -> None:
        """Do the work, unless it was cancelled."""
        self._began = time.monotonic()
        work, self._work = self._work, None
        try:
            if work is not None:
                self.value = work()
        # Work handles its own errors; one that it does not handle must not end the thread.
        except Exception as error:
            let_pass(error)
            _log.error(
                "An access to a store failed unexpectedly; calls go on without it. %s: %s",
                type(error).__name__,
                str(error),
            )
        finally:
            self._done.open()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work; return whether it is done."""
        return self._done.wait(seconds)

    def running_s(self) -> float:
        """Return for how many seconds the work has been running; 0 if it has not begun or is done."""
        return 0.0 if self._began is None or self._done.is_open else time.monotonic() - self._began

    def cancel(self) -> None:
        """Don't do the work, if it has not begun."""
        self._work = None


class _Loop:
    """What one thread runs, until it is idle or given up."""

    def __init__(self) -> None:
        self.access = threading.Lock()  # held during an access, so that a fork can wait for its end
        self.turn = threading.Lock()  # held by a fork that waits, so that the thread does not begin the next one first
        self.job: Job[Any] | None = None
        self.since = 0.0  # when the access began, by the clock of the thread


class StoreThread:
    """A daemon thread, started when there is work. An access that hangs is given up, and the thread replaced.

    If no thread can be started, the work is done on the caller's. `monotonic` is the clock by which it is given up.
    `on_idle` is called, as an access is, before the thread ends for want of work.
    """

    def __init__(
        self,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
        on_idle: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._on_idle = on_idle
        self._monotonic = monotonic
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Start again: in a forked child the thread and its work are the parent's."""
        self._guard = threading.RLock()  # a signal's handler may submit in the middle of a `submit`
        self._jobs: queue.SimpleQueue[Job[Any]] = queue.SimpleQueue()
        self._loop: _Loop | None = None
        self._given_up = 0
        self._unfinished = 0

    def submit(self, work: Callable[[], _T]) -> Job[_T]:
        """Have the work done after what was submitted before."""
        job = Job(work)
        with self._guard:
            if self._given_up < MAX_GIVEN_UP and self.hangs():
                self._given_up += 1
                self._loop = None
            self._unfinished += 1  # before the thread can take it: it asks for the number
            self._jobs.put(job)
            if self._loop is not None or self._start():
                return job
        inline = _Loop()
        while not self._jobs.empty():
            self._run_next(inline)
        return job

    def busy_s(self) -> float:
        """Return for how many seconds the present access has been running."""
        job = None if self._loop is None else self._loop.job
        return 0.0 if job is None else job.running_s()

    def hangs(self) -> bool:
        """Say whether the present access takes so long that it is to be given up."""
        loop = self._loop
        return loop is not None and loop.job is not None and self._monotonic() - loop.since >= GIVE_UP_S

    def runs_here(self) -> bool:
        """Say whether the caller is this thread, not one that does its work because it could not be started."""
        return threading.current_thread().name == self._name

    def unfinished(self) -> int:
        """Return how much work is not done."""
        return self._unfinished

    def _start(self) -> bool:
        loop = _Loop()
        try:
            threading.Thread(target=self._work, args=(loop,), name=self._name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # too many threads, or Python is ending
            let_pass(error)
            return False
        self._loop = loop
        at_end.arm()
        return True

    def _work(self, loop: _Loop) -> None:
        while True:
            is_idle = not self._run_next(loop, IDLE_S)
            if is_idle:
                with loop.access:
                    self._on_idle()
            with self._guard:
                if self._loop is not loop:
                    self._given_up -= 1
                    return
                if is_idle and self._jobs.empty():
                    self._loop = None
                    return

    def _run_next(self, loop: _Loop, patience: float = 0.0) -> bool:
        """Run the next job, if one comes in time; return whether one came."""
        try:
            job = self._jobs.get(timeout=patience)
        except queue.Empty:
            return False
        with loop.turn:
            pass
        with loop.access:
            loop.since, loop.job = self._monotonic(), job
            job.run()
            loop.job = None
        with self._guard:
            self._unfinished -= 1
        return True


def _hold_all() -> None:
    """Let every thread finish its access: the child would inherit SQLite's locks of that moment."""
    until = time.monotonic() + FORK_S
    loops = [loop for loop in (thread._loop for thread in list(_all)) if loop is not None]
    _forking.held = held = list[threading.Lock]()
    for loop in loops:
        for lock in (loop.turn, loop.access):
            if not lock.acquire(timeout=max(0.0, until - time.monotonic())):
                break
            held.append(lock)


def _release_all() -> None:
    for lock in _forking.held:
        lock.release()


forks.around(_hold_all, _release_all)
