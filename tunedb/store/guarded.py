"""A store as a call uses it: it never raises, and it never keeps a call waiting for long.

Reads of a store that fails are misses. Writes that fail wait in memory, and are written when the store works again, or
at exit.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.redact import without_password, without_passwords
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, Sweep, Trial, UsageCount
from tunedb.errors import StoreBusy, StoreCorrupt, StoreError
from tunedb.store.breaker import Breaker, CauseLog
from tunedb.store.interface import SweepStore

if TYPE_CHECKING:
    from tunedb.store import Store

BUSY_TIMEOUT_S = 0.7  # one access waits this long for another process's write; a call, at most 2 s, may lose two
FLUSH_S = 0.5  # after which a call leaves the rest of the queue to the next one
TRIALS_S = 0.5  # one sweep's start and trials may take this long to write; later ones come with the finished sweep
MAX_QUEUE = 256  # sweeps that wait for a store that fails; beyond that the oldest are dropped, and that is logged

_log = logging.getLogger("tunedb")
_stores: weakref.WeakSet[GuardedStore] = weakref.WeakSet()
_forking = threading.local()
_T = TypeVar("_T")
_DETAIL, _RESULT, _READ = range(3)  # kinds of access: one that fails trips its own breaker and those before it


class GuardedStore(SweepStore):
    """One store, opened by `opener` at the first use, behind a guard.

    An `opener` that returns None found no store, and is called again at the next use.
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
        self._breakers = [Breaker(monotonic) for _ in range(3)]  # by kind of access
        self._queue: list[Sweep] = []
        self._begun: dict[str, float] = {}  # sweeps whose start was written, with the seconds that are left to them
        self._causes = CauseLog()
        self._lock, self._late = threading.RLock(), threading.Lock()
        _stores.add(self)
        forks.renew_in_child(self)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the stored sweeps, and the queued ones; only those if the store fails."""
        self.flush()
        stored = self._guarded(lambda store: store.get_sweeps(problem, device, kernel_hash))
        queued = [
            sweep
            for sweep in self._queue
            if (sweep.problem, sweep.device, sweep.kernel_hash) == (problem, device, kernel_hash)
        ]
        return [*(stored or []), *queued]

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the stored sweeps; empty if the store fails."""
        return self._guarded(lambda store: store.get_kernel_sweeps(kernel, device, kernel_hash, most)) or []

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Return the unfinished sweeps; empty if the store fails."""
        return self._guarded(lambda store: store.get_unfinished(problem, device, kernel_hash, environment)) or []

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs that were found wrong here; none if the store fails."""
        return self._guarded(lambda store: store.get_wrong_configs(problem, device, kernel_hash, environment)) or ()

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with their trials; none if the store fails."""
        return iter(self._guarded(lambda store: list(store.get_whole(sweep_uids))) or [])

    def get_marks_of(self, sweep_uids: list[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps by uid; empty if the store fails."""
        return self._guarded(lambda store: store.marks.get_of(sweep_uids)) or {}

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts. Counts that can't be written are lost."""
        if self._writable:
            self._guarded(lambda store: store.add_usage(counts), _DETAIL)

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep, within the time that its trials may take."""
        if self._writable:
            self._begun[sweep.uid] = TRIALS_S
            self._write_of(sweep.uid, lambda store: store.start_sweep(sweep))

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep. A trial that can't be written now is written with its finished sweep."""
        if sweep_uid in self._begun:
            self._write_of(sweep_uid, lambda store: store.put_trial(sweep_uid, trial))

    def _write_of(self, uid: str, work: Callable[[Store], None]) -> None:
        """Write a part of a running sweep, unless the parts before it took too long or failed."""

        def written(store: Store) -> bool:
            work(store)
            return True

        start = self._monotonic()
        done = self._guarded(written, _DETAIL, quiet=True)
        left = self._begun.pop(uid, 0.0) - (self._monotonic() - start)
        if done is not None and left > 0:
            self._begun[uid] = left

    def finish_sweep(self, sweep: Sweep) -> None:
        """Keep the finished sweep. If it can't be written now, it is queued and written later."""
        if not self._writable:
            return
        self._begun.pop(sweep.uid, None)
        with self._lock:
            self._queue.append(sweep)
            if len(self._queue) > MAX_QUEUE:
                _log.warning("%s has failed for too long: a sweep of %s is lost.", self.url, self._queue.pop(0).problem)
        self.flush()

    def is_written(self, sweep_uid: str, *, try_again: bool = False) -> bool:
        """Say whether no result of that uid waits for a busy store; with `try_again`, after another try to write it.

        The try has a lock of its own: under the lock of the other accesses it would keep every call waiting.
        """
        waiting = next((sweep for sweep in list(self._queue) if sweep.uid == sweep_uid), None)
        if waiting is None or not try_again:
            return waiting is None
        with self._late:
            store = self._store
            try:
                if store is None:
                    return True  # not opened, or damaged: waiting for it would not help
                _finish(waiting, store)
            except StoreBusy:
                return False
            # As in `_guarded`, which logged it when it first failed: no failure of the store may reach a call. Waiting
            # would not fix it. The result stays in the queue, for the next flush.
            except Exception as error:
                let_pass(error)
                return True
        with self._lock:
            self._queue = [sweep for sweep in self._queue if sweep.uid != sweep_uid]
            self._breakers[_RESULT].reset()
        return True

    def flush(self, *, now: bool = False) -> None:
        """Write what is queued, unless the store is being left alone; with `now`, even then."""
        with self._lock:
            if now:
                for breaker in self._breakers:
                    breaker.reset()
            start = self._monotonic()
            while self._queue and (now or self._monotonic() - start < FLUSH_S):
                sweep = self._queue[0]
                if not self._guarded(partial(_finish, sweep), _RESULT):
                    return
                self._queue.pop(0)

    def close(self) -> None:
        """Write what is queued, and close the store."""
        self.flush(now=True)
        with self._lock:
            store, self._store = self._store, None
            if store is not None:
                store.close()

    def _guarded(self, work: Callable[[Store], _T], kind: int = _READ, *, quiet: bool = False) -> _T | None:
        """Return what `work` returns, or None if the store fails or is being left alone. The one broad border.

        A write that another process's write kept out stops no read, and a trial's stops no result: if a result is not
        there when its problem's lock is released, the next process sweeps the same problem again.
        """
        with self._lock:
            if self._breakers[kind].is_open:
                return None
            try:
                if self._store is None:
                    self._store = self._opener()
                return None if self._store is None else work(self._store)
            except Exception as error:  # a store failure never reaches the caller of a kernel
                let_pass(error)
                if isinstance(error, StoreCorrupt):
                    self._store = None  # to be set aside when it is opened again
                last = _READ if self._store is None else kind
                for breaker in self._breakers[: last + 1]:
                    breaker.trip()
                self._begun.clear()
                if not quiet or last > kind:
                    self._log_once(error)
                return None

    def _log_once(self, error: Exception) -> None:
        cause = type(error).__name__
        self._causes.warn(
            cause,
            "Store %s can't be used; calls go on with what is in memory. %s: %s%s",
            self.url,
            cause,
            without_passwords(str(error)),
            "" if not isinstance(error, StoreError) or "tunedb " in str(error) else " See: tunedb path -v",
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
    except ValueError as error:  # no store will ever take it, and it must not block those behind it
        let_pass(error)
        _log.warning("A sweep of %s can't be kept: %s", sweep.problem.kernel, error)
    return True


def _hold_all() -> None:
    """Let every store finish its access: the child would inherit SQLite's locks of that moment."""
    locks = [lock for store in list(_stores) for lock in (store._lock, store._late)]
    _forking.held = [lock for lock in locks if lock.acquire(timeout=2 * BUSY_TIMEOUT_S)]


def _release_all() -> None:
    for lock in _forking.held:
        lock.release()


def _flush_all() -> None:
    for store in list(_stores):
        store.flush(now=True)


forks.around(_hold_all, _release_all)
atexit.register(_flush_all)
