"""The writes of a store, on a thread of their own: finished sweeps wait in memory until they are written."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.gate import Changes, Until
from tunedb._internal.timer import RearmingTimer
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreBusy
from tunedb.store import at_end, wait_budget
from tunedb.store.breaker import RETRY_AFTER_S, Breaker, FailureLog
from tunedb.store.reopening import ReopeningStore
from tunedb.store.store_thread import Job, StoreThread

if TYPE_CHECKING:
    from tunedb.store import Store

RESULT_S = 0.5  # a call waits this long for a finished sweep to be written; a healthy store needs some milliseconds
TRIALS_S = 0.5  # a sweep waits this long for its start and trials; later ones come with the finished sweep
Write = Callable[["Store"], Callable[[], object] | None]
BUSY_S = 10.0  # a busy store is tried again and again for this long, before it rests
POLL_S = 0.05  # between two of these tries
MAX_WAITING = 1000  # sweeps that wait for a store that fails; beyond that the oldest are lost, and that is logged

_log = logging.getLogger("tunedb")
_all: weakref.WeakSet[Writer] = weakref.WeakSet()
_unwritten: set[Writer] = set()  # those with something to write, so that no change of the settings drops them


class Writer:
    """The writer of one store."""

    def __init__(
        self, store: ReopeningStore, failures: FailureLog, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self._failures, self._monotonic = failures, monotonic
        self._thread = StoreThread("tunedb-writer", monotonic)
        self._results, self._details = Breaker(monotonic), Breaker(monotonic)
        self._lost = 0
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Start again in a forked child: what waits is written by the parent."""
        self._guard = threading.RLock()  # a Condition can be left locked (see `Gate`)
        self._changes = Changes()  # of what waits, and of whether it is tried
        self._waiting: dict[str, tuple[Sweep, Write]] = {}
        self._is_trying = False  # an access that writes what waits is submitted
        self._busy_since: float | None = None
        self._begun: dict[str, float] = {}  # sweeps whose start is kept, with the seconds that are left to them
        self._parts: dict[str, Job[bool]] = {}  # the last part of each of these
        self._is_opening, self._is_first_to_wait = False, True
        self._timer = RearmingTimer(RETRY_AFTER_S, self._try_after_rest)
        _unwritten.discard(self)

    def waiting(self) -> list[Sweep]:
        """Return the finished sweeps that are not written yet."""
        with self._guard:
            return [sweep for sweep, _ in self._waiting.values()]

    def put(self, sweep: Sweep, write: Write | None = None) -> None:
        """Keep a finished sweep until `write` has written it, and do what that returns. Does not wait for either."""
        with self._guard:
            self._end_parts(sweep.uid)
            self._waiting[sweep.uid] = sweep, write or (lambda store: store.finish_sweep(sweep))
            _unwritten.add(self)
            if len(self._waiting) > MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
                self._lost += 1
                if self._lost == 1:
                    _log.warning(
                        "%s has failed for so long that the oldest results are lost; how many is logged at the end.",
                        self._failures.url,
                    )
        self.write()

    def write(self) -> None:
        """Have what waits written, unless the store rests. Does not wait for it."""
        try:
            with self._guard:
                is_trying = self._is_trying and not self._thread.hangs()
                if is_trying or not self._waiting or self._results.is_open:
                    return
                self._is_trying = True
            self._thread.submit(self._write_next)
        # Raised again: an interrupt, or what a signal handler raises. Nothing may be submitted; the next call tries.
        except BaseException:
            self._is_trying = False
            raise

    def flush(self) -> bool:
        """Write what waits, also to a store that rests, within the call's budget; return whether all is written."""
        budget, more = wait_budget.current(), True
        while more:
            was_trying = self._is_trying  # if that attempt fails, it may have begun before the store worked again
            count = len(self._waiting)
            for breaker in (self._results, self._details):
                breaker.reset()
            self.write()
            if self._thread.unfinished():
                budget.wait(self._thread.submit(lambda: None))  # parts of sweeps, and counts
            budget.wait(Until(self._changes, lambda: not self._is_trying))
            more = bool(self._waiting) and budget.left > 0 and (was_trying or len(self._waiting) < count)
        return not self._waiting

    def wait_until_written(self, sweep_uid: str) -> bool:
        """Wait a while for a finished sweep to be written; return whether it is."""
        done = Until(self._changes, lambda: self.is_settled(sweep_uid))
        with self._guard:
            is_opening, self._is_first_to_wait = self._is_opening and self._is_first_to_wait, False
        if is_opening:  # making the first schema takes longer
            wait_budget.current().wait(done, wait_budget.CALL_S)
        elif self._busy_since is None and self._thread.busy_s() < RESULT_S:  # else another call has waited already
            wait_budget.current().wait(done, RESULT_S)
        return sweep_uid not in self._waiting

    def is_settled(self, sweep_uid: str) -> bool:
        """Say whether a sweep is written, or will not be soon: waiting for it would not help."""
        return sweep_uid not in self._waiting or not self._is_trying

    def open(self, load: Callable[[], None]) -> None:
        """Begin to open the store for writing, unless it is or rests, after `load` has imported what that needs."""
        try:
            with self._guard:
                if self._is_opening or self.store.is_whole or self._results.is_open:
                    return
                self._is_opening = True
            self._thread.submit(load)
            self._thread.submit(self._open)
        # Raised again, as in `write`.
        except BaseException:
            self._is_opening = False
            raise

    def _open(self) -> None:
        try:
            self.store.open_whole()
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            self._fail(error)
        finally:
            self._is_opening = False

    def begin(self, uid: str, work: Callable[[Store], object]) -> None:
        """Write the start of a sweep, within the time that its parts may take."""
        if not self._details.is_open:
            self._begun[uid] = TRIALS_S
        self.write_part(uid, work)

    def write_part(self, uid: str, work: Callable[[Store], object]) -> None:
        """Write a part of a running sweep, unless the parts before it failed or took too long.

        Waits for the part before it, so that a process that ends now loses one part at most. Waits for none while the
        store is being opened, which may take as long as all the trials do.
        """
        left, before = self._begun.get(uid), self._parts.get(uid)
        if left is None or self._details.is_open:
            return
        if before is not None and self.store.is_whole:
            start = self._monotonic()
            if not wait_budget.current().wait(before, left):
                before.cancel()
                self._details.trip()  # the parts of other sweeps would keep their calls waiting as well
            left -= self._monotonic() - start
            with self._guard:
                if not before.value or left <= 0:
                    self._end_parts(uid)
                    return
                self._begun[uid] = left
        self._parts[uid] = self.detail(work, lambda: uid in self._begun)

    def _end_parts(self, uid: str) -> None:
        """Write no more parts of a sweep, not even those that are submitted: the finished sweep brings them."""
        self._begun.pop(uid, None)
        self._parts.pop(uid, None)

    def add(self, work: Callable[[Store], object]) -> None:
        """Write something that may be lost, such as counts, within the call's budget."""
        wait_budget.current().wait(self.detail(work))

    @property
    def rests(self) -> bool:
        """Whether no details are written at the moment, because the store failed or was slow."""
        return self._details.is_open

    def rest_details(self) -> None:
        """Write no parts of sweeps for a while: the store failed."""
        self._details.trip()

    def detail(
        self, work: Callable[[Store], object], is_wanted: Callable[[], bool] = lambda: True, *, rests: bool = True
    ) -> Job[bool]:
        """Have something written that may be lost; the job's value is whether it was. Not all `rests` with details."""

        def run() -> bool:
            if (rests and self._details.is_open) or not is_wanted():
                return False
            try:
                self.store.run(work)
            # A store failure never reaches the caller of a kernel. A part that is lost comes with its finished sweep.
            except Exception as error:
                let_pass(error)
                self._details.trip()
                return False
            return True

        return self._thread.submit(run)

    def _write_next(self) -> None:
        """Write the oldest sweep that waits, on the writer's thread, and submit the next: a fork may come between."""
        with self._guard:
            first = next(iter(self._waiting.values()), None)
        goes_on = first is not None and self._write(first)
        with self._guard:
            # Without a thread this is a call, which leaves the rest to the next one.
            goes_on = self._is_trying = goes_on and bool(self._waiting) and self._thread.runs_here()
            if not self._waiting:
                self._busy_since = None
                _unwritten.discard(self)
            self._changes.tell()
        if goes_on:
            self._thread.submit(self._write_next)
        elif self._waiting:
            self._timer.arm()

    def _write(self, entry: tuple[Sweep, Write]) -> bool:
        """Write a sweep; return whether to go on: with the next one, or again with this one."""
        (sweep, write), settle = entry, None
        try:
            settle = self.store.run(write)
        except StoreBusy as error:
            now = self._monotonic()
            self._busy_since = now if self._busy_since is None else self._busy_since
            if now - self._busy_since < BUSY_S and self._thread.runs_here():
                time.sleep(POLL_S)  # if the store itself did not wait
                return True
            self._fail(error)
            return False
        except ValueError as error:  # no store will ever take it, and it must not block those behind it
            _log.warning("A sweep of %s can't be kept: %s", sweep.problem.kernel, str(error))
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            self._fail(error)
            return False
        with self._guard:
            if self._waiting.get(sweep.uid) is entry:  # else it has changed since
                del self._waiting[sweep.uid]
        self._busy_since = None
        if settle is not None:
            self._thread.submit(settle)  # whose errors are not this sweep's
        return True

    def _fail(self, error: Exception) -> None:
        self._busy_since = None
        self._results.trip()
        self._details.trip()
        self._failures.warn(error)

    def _try_after_rest(self) -> bool:
        self.write()
        return bool(self._waiting)

    def close(self) -> None:
        """Stop trying again after a rest, if nothing waits."""
        if not self._waiting:
            self._timer.cancel()

    def report(self) -> None:
        """Log how many finished sweeps are lost, at the end of the process."""
        with self._guard:
            lost, self._lost = self._lost + len(self._waiting), 0
            self._waiting.clear()
            _unwritten.discard(self)
        if lost:
            _log.warning("Finished sweeps that could not be written to %s and are lost: %d.", self._failures.url, lost)


def flush_writers() -> bool:
    """Write within the call's budget what waits for any store; return whether all is written."""
    written = [writer.flush() for writer in list(_all)]
    return all(written)


def _end() -> None:
    flush_writers()
    for writer in list(_all):
        writer.report()


at_end.register(_end)
