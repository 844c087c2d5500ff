"""A shared store as a call uses it: read once per kernel and device, within a second, and from then on from memory.

Threads of its own talk to it, so that a server that hangs costs a call one second, once.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.redact import without_password, without_passwords
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import at_end, wait_budget
from tunedb.store.breaker import Breaker
from tunedb.store.reopening import ReopeningStore
from tunedb.store.store_thread import StoreThread

if TYPE_CHECKING:
    from tunedb.store import Store

DEADLINE_S = 1.0  # a call waits this long for the first read of a kernel's rows
CLOSE_S = 2.0  # the end of a process waits this long for what is still to be written
MAX_UNSENT = 256  # sweeps on their way to a server that is slow; beyond that they stay in the local store

_log = logging.getLogger("tunedb")
_all: weakref.WeakSet[SharedStore] = weakref.WeakSet()
_Kernel = tuple[str, str, str]  # kernel, its hash, device digest


class SharedStore:
    """One shared store, from which finished sweeps are read and to which they are written.

    A call never makes it, migrates it or waits for its writes; each cause of a failure is logged once. Writes that are
    refused hide no row from reads, whose failure stops both for a while. `load` imports what `opener` needs, on the
    caller's thread: that is no wait for a store.
    """

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store],
        *,
        load: Callable[[], None] = lambda: None,
        writable: bool = True,
        deadline: float = DEADLINE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._load = load
        self._writable = writable
        self._deadline = deadline
        self._rows: dict[_Kernel, dict[str, list[Sweep]]] = {}
        self._store = ReopeningStore(opener)
        self._reader, self._sender = StoreThread("tunedb-shared", monotonic), StoreThread("tunedb-sender", monotonic)
        self._reads, self._writes = Breaker(monotonic), Breaker(monotonic)
        self._causes: set[str] = set()
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Count again in a forked child: the parent sends its own sweeps."""
        self._finished = 0
        self._sent = 0

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity, as they were when the kernel was first read on this device."""
        return self._kernel(problem.kernel, device, kernel_hash).get(problem.key, [])

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of all problems of the kernel; empty if the store does not answer in time."""
        return [sweep for sweeps in self._kernel(kernel, device, kernel_hash).values() for sweep in sweeps]

    def _kernel(self, kernel: str, device: Device, kernel_hash: str) -> dict[str, list[Sweep]]:
        key = (kernel, kernel_hash, device.digest)
        if key not in self._rows and not self._reads.is_open:
            self._load()
            job = self._reader.submit(lambda: self._try_read(key, device))
            if not wait_budget.current().wait(job, self._deadline):
                job.cancel()
                if self._reader.busy_s() >= 0.9 * self._deadline:  # else the budget was spent, or it was behind others
                    self._rest(f"no answer within {self._deadline:g} s", "late", self._reads, self._writes)
        return self._rows.get(key, {})

    def finish_sweep(self, sweep: Sweep) -> None:
        """Write a sweep that has a winner in the background, and not at all if the store fails.

        A sweep that is not written stays in the local store; `tunedb sync` unites the two.
        """
        if self._writable and sweep.leaves_its_store:
            self._finished += 1
            if not self._writes.is_open and self._sender.unfinished() < MAX_UNSENT:
                self._sender.submit(lambda: self._try_send(sweep))

    def flush(self) -> bool:
        """Wait within the call's budget for what is being sent; return whether all was sent."""
        if self._sender.unfinished():
            wait_budget.current().wait(self._sender.submit(lambda: None))
        return self._sent == self._finished

    def close(self, wait: float = CLOSE_S) -> None:
        """Wait at most `wait` seconds for what is being sent."""
        with wait_budget.one_call(wait):
            self.flush()

    def report(self) -> None:
        """Log how many finished sweeps are only in the local store, at the end of the process."""
        if unsent := self._finished - self._sent:
            _log.warning(
                "Finished sweeps that were not sent to %s and are in the local store only: %d. Run: tunedb sync",
                self.url, unsent,
            )  # fmt: skip

    def _try_read(self, key: _Kernel, device: Device) -> None:
        if key in self._rows or self._reads.is_open:
            return
        try:
            sweeps = self._store.run(lambda store: store.get_kernel_sweeps(key[0], device, key[1]), again=False)
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            self._rest(f"{type(error).__name__}: {error}", type(error).__name__, self._reads, self._writes)
            return
        by_problem: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in sweeps or ():
            if sweep.leaves_its_store:  # another version of tunedb may have sent others
                by_problem[sweep.problem.key].append(sweep)
        self._rows[key] = dict(by_problem)

    def _try_send(self, sweep: Sweep) -> None:
        if self._writes.is_open:
            return
        try:
            self._store.run(lambda store: store.put_sweep(sweep), again=False)
            self._sent += 1
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            self._rest(f"{type(error).__name__}: {error}", type(error).__name__, self._writes)

    def _rest(self, text: str, cause: str, *breakers: Breaker) -> None:
        for breaker in breakers:
            breaker.trip()
        if cause not in self._causes:
            self._causes.add(cause)
            _log.warning(
                "Shared store %s can't be used; calls go on with the local one. %s See: tunedb doctor",
                self.url, without_passwords(text),
            )  # fmt: skip


def flush_shared() -> bool:
    """Wait within the call's budget for what is being sent to shared stores; return whether all was sent."""
    sent = [shared.flush() for shared in list(_all)]
    return all(sent)


def _end() -> None:
    flush_shared()
    for shared in list(_all):
        shared.report()


at_end.register(_end)
