"""The store as a call sees it: it never raises, and it never keeps a call waiting for long.

Reads of a store that fails are misses. Writes that fail wait in memory, and are written when the store is well again,
or at exit.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal import forks
from tunedb._internal.redact import without_password, without_passwords
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, Sweep, Trial, UsageCount
from tunedb.errors import SchemaMismatch, StoreBusy, StoreCorrupt, StoreError

if TYPE_CHECKING:
    from tunedb.store import Store

BUSY_TIMEOUT = 0.7  # seconds that one access waits for another process's write; a call may lose two of them
REST = 30.0  # seconds for which a store that failed is left alone
FLUSH = 0.5  # seconds after which a call leaves the rest of what waits to the next one
TRIALS = 0.5  # seconds that one sweep's start and trials may take to write; later ones come with the finished sweep
QUEUE = 256  # sweeps that wait for a store that fails; beyond that the oldest are dropped, and that is logged

_log = logging.getLogger("tunedb")
_shelves: weakref.WeakSet[GuardedStore] = weakref.WeakSet()
_forking = threading.local()
_T = TypeVar("_T")
_DETAIL, _RESULT, _READ = range(3)  # kinds of access: one that fails has its own kind left alone, and those before it


class GuardedStore:
    """One store, opened by `opener` at the first use, behind a guard.

    An `opener` that gives None found no store, and is asked again at the next use.
    """

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store | None],
        *,
        writable: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._opener = opener
        self._writable = writable
        self._monotonic = monotonic
        self._store: Store | None = None
        self._rests_until = [float("-inf")] * 3  # by kind of access
        self._queue: list[Sweep] = []
        self._begun: dict[str, float] = {}  # sweeps whose start was written, with the seconds that are left to them
        self._logged: set[str] = set()
        self._lock, self._late = threading.RLock(), threading.Lock()
        _shelves.add(self)
        forks.renew_in_child(self)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """The finished sweeps of that identity, the queued ones too; empty where the store can't tell."""
        self.flush()
        stored = self._guarded(lambda store: store.get_sweeps(problem, device, kernel_hash))
        queued = [
            sweep
            for sweep in self._queue
            if (sweep.problem, sweep.device, sweep.kernel_hash) == (problem, device, kernel_hash)
        ]
        return [*(stored or []), *queued]

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """See `Store.get_kernel_sweeps`; empty where the store can't tell."""
        return self._guarded(lambda store: store.get_kernel_sweeps(kernel, device, kernel_hash, most)) or []

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """See `Store.get_unfinished`; empty where the store can't tell."""
        return self._guarded(lambda store: store.get_unfinished(problem, device, kernel_hash, environment)) or []

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """See `Store.get_whole`; nothing where the store can't tell."""
        return iter(self._guarded(lambda store: list(store.get_whole(sweep_uids))) or [])

    def get_marks_of(self, sweep_uids: list[str]) -> dict[str, list[Mark]]:
        """See `Store.get_marks_of`; empty where the store can't tell."""
        return self._guarded(lambda store: store.get_marks_of(sweep_uids)) or {}

    def add_served(self, served: list[UsageCount]) -> None:
        """See `Store.add_served`. Counts that can't be written are lost."""
        if self._writable:
            self._guarded(lambda store: store.add_served(served), _DETAIL)

    def start_sweep(self, sweep: Sweep) -> None:
        """See `Store.start_sweep`."""
        if self._writable:
            self._begun[sweep.uid] = TRIALS
            self._write_of(sweep.uid, lambda store: store.start_sweep(sweep))

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """See `Store.put_trial`. A trial that is not written now comes with its finished sweep."""
        if sweep_uid in self._begun:
            self._write_of(sweep_uid, lambda store: store.put_trial(sweep_uid, trial))

    def _write_of(self, uid: str, work: Callable[[Store], None]) -> None:
        """A write of a sweep that has begun, unless those before it took too long or failed."""

        def written(store: Store) -> bool:
            work(store)
            return True

        start = self._monotonic()
        done = self._guarded(written, _DETAIL, quiet=True)
        left = self._begun.pop(uid, 0.0) - (self._monotonic() - start)
        if done is not None and left > 0:
            self._begun[uid] = left

    def finish_sweep(self, sweep: Sweep) -> None:
        """See `Store.finish_sweep`. What can't be written now is written later."""
        if not self._writable:
            return
        self._begun.pop(sweep.uid, None)
        with self._lock:
            self._queue.append(sweep)
            if len(self._queue) > QUEUE:
                _log.warning("%s is away for too long: a sweep of %s is lost.", self.url, self._queue.pop(0).problem)
        self.flush()

    def is_written(self, sweep_uid: str, *, try_again: bool = False) -> bool:
        """Whether no result of that uid waits for a busy store; with `try_again`, after another try at it.

        The try has a lock of its own: with the others' lock, it would keep every call waiting.
        """
        waiting = next((sweep for sweep in list(self._queue) if sweep.uid == sweep_uid), None)
        if waiting is None or not try_again:
            return waiting is None
        with self._late:
            store = self._store
            try:
                if store is None:
                    return True  # not opened, or damaged: nobody waits for that one
                _finish(waiting, store)
            except StoreBusy:
                return False
            # As in `_guarded`, which told it when it first failed: no failure of the store may reach a call. Time does
            # not mend it, so that nobody is to wait. The result stays in the queue, for the next flush.
            except Exception:
                return True
        with self._lock:
            self._queue = [sweep for sweep in self._queue if sweep.uid != sweep_uid]
            self._rests_until[_RESULT] = float("-inf")
        return True

    def flush(self, *, now: bool = False) -> None:
        """Write what waits, unless the store is being left alone; with `now`, even then."""
        with self._lock:
            if now:
                self._rests_until = [float("-inf")] * 3
            start = self._monotonic()
            while self._queue and (now or self._monotonic() - start < FLUSH):
                sweep = self._queue[0]
                if not self._guarded(partial(_finish, sweep), _RESULT):
                    return
                self._queue.pop(0)

    def close(self) -> None:
        """Write what waits, and close the store."""
        self.flush(now=True)
        with self._lock:
            store, self._store = self._store, None
            if store is not None:
                store.close()

    def _guarded(self, work: Callable[[Store], _T], kind: int = _READ, *, quiet: bool = False) -> _T | None:
        """What `work` returns, or None where the store fails or is being left alone. The one broad border.

        A write that another process's write kept out stops no read, and a trial's stops no result: a result that is
        not there when its problem's lock is released has the next process sweep the same problem again.
        """
        with self._lock:
            if self._monotonic() < self._rests_until[kind]:
                return None
            try:
                if self._store is None:
                    self._store = self._opener()
                return None if self._store is None else work(self._store)
            except Exception as error:  # a store failure never reaches the caller of a kernel
                if isinstance(error, StoreCorrupt):
                    self._store = None  # to be set aside when it is opened again
                last = _READ if self._store is None else kind
                self._rests_until[: last + 1] = [self._monotonic() + REST] * (last + 1)
                self._begun.clear()
                if not quiet or last > kind:
                    self._log_once(error)
                return None

    def _log_once(self, error: Exception) -> None:
        cause = type(error).__name__
        if cause in self._logged:
            return
        self._logged.add(cause)
        _log.warning(
            "Store %s can't be used; calls go on with what is in memory. %s: %s%s",
            self.url,
            cause,
            without_passwords(str(error)),
            "" if isinstance(error, SchemaMismatch) or not isinstance(error, StoreError) else " See: tunedb path -v",
        )

    def renew(self) -> None:
        """Start again in a forked child: connection, queue and locks are the parent's."""
        self._store = None
        self._queue = []
        self._begun = {}
        self._lock, self._late = threading.RLock(), threading.Lock()


def _finish(sweep: Sweep, store: Store) -> bool:
    try:
        store.finish_sweep(sweep)
    except ValueError as error:  # no store will ever take it: it must not block those behind it
        _log.warning("A sweep of %s can't be kept: %s", sweep.problem.kernel, error)
    return True


def _hold_all() -> None:
    """Before a fork: let every store finish what it does. SQLite's locks in the child would be those of that moment."""
    locks = [lock for shelf in list(_shelves) for lock in (shelf._lock, shelf._late)]
    _forking.held = [lock for lock in locks if lock.acquire(timeout=2 * BUSY_TIMEOUT)]


def _release_all() -> None:
    for lock in _forking.held:
        lock.release()


def _flush_all() -> None:
    for shelf in list(_shelves):
        shelf.flush(now=True)


forks.around(_hold_all, _release_all)
atexit.register(_flush_all)
