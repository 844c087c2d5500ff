"""A shared store as a call uses it: read once per kernel and device, within a second, and from then on from memory.

One background thread talks to it, so that a server that hangs costs a call one second, once.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb._internal import forks
from tunedb._internal.redact import without_password, without_passwords
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store.breaker import Breaker, CauseLog

if TYPE_CHECKING:
    from tunedb.store import Store

DEADLINE_S = 1.0  # a call waits this long for the first read of a kernel's rows
CLOSE_S = 2.0  # the end of a process waits this long for what is still to be written

_log = logging.getLogger("tunedb")
_all: weakref.WeakSet[SharedStore] = weakref.WeakSet()
_Kernel = tuple[str, str, str]  # kernel, its hash, device digest
_Job = Callable[["Store"], object]


class SharedStore:
    """One shared store, from which finished sweeps are read and to which they are written.

    A call never makes it, migrates it or waits for its writes; each cause of a failure is logged once.
    """

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store],
        *,
        writable: bool = True,
        deadline: float = DEADLINE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._opener = opener
        self._writable = writable
        self._deadline = deadline
        self._rows: dict[_Kernel, dict[str, list[Sweep]]] = {}
        self._breaker = Breaker(monotonic)
        self._causes = CauseLog()
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity, as they were when the kernel was first read on this device."""
        return self._kernel(problem.kernel, device, kernel_hash).get(problem.key, [])

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of all problems of the kernel; empty if the store does not answer in time."""
        return [sweep for sweeps in self._kernel(kernel, device, kernel_hash).values() for sweep in sweeps]

    def _kernel(self, kernel: str, device: Device, kernel_hash: str) -> dict[str, list[Sweep]]:
        key = (kernel, kernel_hash, device.digest)
        if key not in self._rows and not self._breaker.is_open:
            done = threading.Event()
            self._submit(lambda store: self._read(store, key, device), done)
            if not done.wait(self._deadline):
                self._breaker.trip()
                self._log_once("late", f"no answer within {self._deadline:g} s")
        return self._rows.get(key, {})

    def finish_sweep(self, sweep: Sweep) -> None:
        """Write a sweep that has a winner in the background, and not at all if the store fails.

        A sweep that is not written stays in the local store; `tunedb sync` unites the two.
        """
        if self._writable and sweep.leaves_its_store:
            self._submit(lambda store: store.put_sweep(sweep), None)

    def close(self, wait: float = CLOSE_S) -> None:
        """Wait at most `wait` seconds for what is still to be written, then give it up."""
        if self._thread is not None:
            done = threading.Event()
            self._submit(lambda _: None, done)
            if not done.wait(wait):
                self.renew()

    def _read(self, store: Store, key: _Kernel, device: Device) -> None:
        by_problem: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in store.get_kernel_sweeps(key[0], device, key[1]):
            if sweep.leaves_its_store:  # another version of tunedb may have sent others
                by_problem[sweep.problem.key].append(sweep)
        self._rows[key] = dict(by_problem)

    def renew(self) -> None:
        """Start again: in a forked child the thread, its queue and its connection are the parent's."""
        self._jobs: queue.SimpleQueue[tuple[_Job, threading.Event | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._store: Store | None = None
        self._guard = threading.Lock()

    def _submit(self, job: _Job, done: threading.Event | None) -> None:
        with self._guard:
            self._jobs.put((job, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tunedb-shared", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        jobs = self._jobs  # a forked child has a queue and a thread of its own
        while True:
            job, done = jobs.get()
            try:
                if not self._breaker.is_open:
                    if self._store is None:
                        self._store = self._opener()
                    job(self._store)
            except Exception as error:  # a store failure never reaches the caller of a kernel
                self._breaker.trip()
                self._log_once(type(error).__name__, f"{type(error).__name__}: {error}")
            finally:
                if done is not None:
                    done.set()

    def _log_once(self, cause: str, text: str) -> None:
        self._causes.warn(
            cause,
            "Shared store %s can't be used; calls go on with the local one. %s See: tunedb doctor",
            self.url,
            without_passwords(text),
        )


def _close_all() -> None:
    for shared in list(_all):
        shared.close()


atexit.register(_close_all)
