"""A store as a call uses it: it never raises, and it never keeps a call waiting for long.

Reads of a store that fails are misses. Writes are done by a thread of their own; results wait in memory until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tunedb._internal.control import let_pass
from tunedb._internal.redact import without_password
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, MarkKind, Sweep, Trial, UsageCount
from tunedb.errors import StoreUnavailable
from tunedb.store import wait_budget
from tunedb.store.breaker import Breaker, FailureLog
from tunedb.store.claim_keeper import ClaimKeeper
from tunedb.store.interface import SweepStore
from tunedb.store.local import LocalStore, NotLoaded, whole_of
from tunedb.store.local_claims import LocalClaims
from tunedb.store.reopening import ReopeningStore
from tunedb.store.store_thread import StoreThread
from tunedb.store.wait_budget import CALL_S
from tunedb.store.writer import BUSY_S, Writer

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.hosts import HostSum

BUSY_TIMEOUT_S = 0.7  # SQLite waits this long for another process's write, on the thread that accesses it
READ_S = 1.0  # a read that takes longer has failed: the store is left alone for a while

_T = TypeVar("_T")


class GuardedStore(SweepStore):
    """One store, opened by `opener` at the first use, behind a guard.

    An `opener` that returns None found no store, and is called again at the next use. `load` imports what writes need,
    and an opener that raises NotLoaded, which is no wait for a store. `is_new` says that there is no store yet and
    `opener` will make one: it is then made on another thread, and reads find nothing until it is there. `writer`: that
    of the same store, from earlier settings, whose results may still wait.
    """

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store | LocalStore | None],
        *,
        load: Callable[[], None] = lambda: None,
        is_new: Callable[[], bool] = lambda: False,
        writable: bool = True,
        writer: Writer | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._load = load
        self._is_new = is_new
        self._writable = writable
        self._failures = FailureLog(url)
        self._store = writer.store if writer is not None and writable else ReopeningStore(opener)
        self.writer = writer or Writer(self._store, self._failures, monotonic=monotonic)
        self._reader = StoreThread("tunedb-reader", monotonic, on_idle=self._store.release)
        self._breaker = Breaker(monotonic)

    @property
    def is_absent(self) -> bool:
        """Whether there is no store yet, and nothing waits to be written to one."""
        return not self._store.is_open and self._is_new() and not self.writer.waiting()

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the stored sweeps, and those that wait to be written; only those if the store fails."""
        self.writer.write()
        waiting = [sweep for sweep in self._waiting(device, kernel_hash) if sweep.problem == problem]
        return _each_once(self._read(lambda store: store.get_sweeps(problem, device, kernel_hash)), waiting)

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the stored sweeps, and those that wait to be written; only those if the store fails."""
        waiting = [sweep for sweep in self._waiting(device, kernel_hash) if sweep.problem.kernel == kernel]
        return _each_once(self._read(lambda store: store.get_kernel_sweeps(kernel, device, kernel_hash, most)), waiting)

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Return the unfinished sweeps; empty if the store fails."""
        return self._read(lambda store: store.get_unfinished(problem, device, kernel_hash, environment)) or []

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs that were found wrong here; none if the store fails."""
        return self._read(lambda store: store.get_wrong_configs(problem, device, kernel_hash, environment)) or ()

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep tried; none if the store fails."""
        return self._read(lambda store: store.get_tried_keys(sweep_uid)) or ()

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with their trials; none if the store fails."""
        return iter(self._read(lambda store: list(store.get_whole(sweep_uids))) or [] if sweep_uids else [])

    def get_confirmations_of(self, sweep_uids: list[str]) -> dict[str, list[Confirmation]]:
        """Return the confirmations of these sweeps by uid."""
        return self._read(lambda store: store.get_confirmations_of(sweep_uids)) or {}

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of; none if the store fails."""
        return self._read(lambda store: store.get_devices(kernel_hash)) or []

    def get_hints(self, kernel: str, device: str) -> list[Hint]:
        """Return the hints of a kernel; none if the store fails."""
        return self._read(lambda store: store.get_hints(kernel, device)) or []

    def get_marks_of(self, sweep_uids: list[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps by uid; empty if the store fails."""
        return self._read(lambda store: store.get_marks_of(sweep_uids)) or {}

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts. Counts that can't be written are lost."""
        if self._writable:
            self.writer.add(lambda store: store.add_usage(counts))

    def get_own_counts(self, since: datetime) -> list[HostSum]:
        """Return what was counted in this store since then. For a thread that keeps no call waiting: it may raise."""
        return self._store.run(lambda store: store.get_own_counts(since)) or []

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep, within the time that its trials may take."""
        if self._writable:
            self._open()
            self.writer.begin(sweep.uid, lambda store: store.start_sweep(sweep))

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep. A trial that can't be written now is written with its finished sweep."""
        self.writer.write_part(sweep_uid, lambda store: store.put_trial(sweep_uid, trial))

    def finish_sweep(self, sweep: Sweep) -> None:
        """Keep the finished sweep in memory until it is written, on a thread of its own."""
        if self._writable:
            self._open()
            self.writer.put(sweep)

    @property
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """The claims of this store, which the problem's lock file backs up."""
        return (LocalClaims(self.writer, self.finish_sweep, is_writable=self._writable),)

    def withdraw(self, sweep_uid: str, reason: str) -> None:
        """Quarantine a sweep, on a thread that may wait for that. A mark that can't be written is lost."""
        mark = Mark(MarkKind.QUARANTINE, reason)
        self.writer.detail(lambda store: whole_of(store).marks.put(sweep_uid, mark)).wait(BUSY_S)

    def wait_until_written(self, sweep_uid: str) -> bool:
        """Wait a while for a finished sweep to be written; return whether it is."""
        if not self._store.is_whole:
            self._load()  # waits for the thread that does it
        return self.writer.wait_until_written(sweep_uid)

    def is_settled(self, sweep_uid: str) -> bool:
        """Say whether a sweep is written, or will not be soon."""
        return self.writer.is_settled(sweep_uid)

    def flush(self) -> bool:
        """Write what waits, within the call's budget; return whether all is written."""
        return self.writer.flush()

    def close(self) -> None:
        """Write what waits, within the call's budget, and close the store. What is left is written later."""
        self.flush()
        self.writer.close()
        self._store.close()

    def _waiting(self, device: Device, kernel_hash: str) -> list[Sweep]:
        return [sweep for sweep in self.writer.waiting() if sweep.device == device and sweep.kernel_hash == kernel_hash]

    def _read(self, work: Callable[[Any], _T]) -> _T | None:
        """Return what `work` returns, or None if the store fails, does not answer in time or is being left alone."""
        if self._breaker.is_open:
            return None
        if not self._store.is_open and self._is_new():
            self._open()
            return None
        answer = self._attempt(work)
        if isinstance(answer, NotLoaded):
            self._load()
            answer = self._attempt(work)
        return None if isinstance(answer, NotLoaded) else answer

    def _open(self) -> None:
        """Begin to open the store for writing, unless it has just failed."""
        if not self._breaker.is_open:
            self.writer.open(self._load)

    def _attempt(self, work: Callable[[Any], _T]) -> _T | NotLoaded | None:
        most = READ_S if self._store.is_open else CALL_S  # making the first schema takes longer than a read
        job = self._reader.submit(lambda: self._try(work))
        if not wait_budget.current().wait(job, most):
            job.cancel()
            if self._reader.busy_s() >= 0.9 * most:  # else the budget was spent, or it was behind others
                self._fail(StoreUnavailable(f"No answer within {most:g} s."))
        return job.value

    def _try(self, work: Callable[[Any], _T]) -> _T | NotLoaded | None:
        """Access the store, on the reader's thread."""
        if self._breaker.is_open:
            return None
        try:
            return self._store.run(work)
        except NotLoaded as error:
            return error
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        self._breaker.trip()
        self.writer.rest_details()
        self._failures.warn(error)


def _each_once(stored: list[Sweep] | None, waiting: list[Sweep]) -> list[Sweep]:
    """Return both, as one may have been written since it waited."""
    uids = {sweep.uid for sweep in stored or ()}
    return [*(stored or ()), *(sweep for sweep in waiting if sweep.uid not in uids)]
