"""A shared store as a call sees it: read once per kernel and device, within a second, and from then on from memory.

All that talks to it happens on a thread of its own, so that a server that hangs costs a call one second, once.
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

if TYPE_CHECKING:
    from tunedb.store import Store

DEADLINE = 1.0  # seconds that a call waits for the first read of a kernel's rows
REST = 30.0  # seconds for which a store that failed is left alone
LAST_WORDS = 2.0  # seconds that the end of a process waits for what is still to be written

_log = logging.getLogger("tunedb")
_all: weakref.WeakSet[SharedStore] = weakref.WeakSet()
_Kernel = tuple[str, str, str]  # kernel, its hash, device digest
_Job = Callable[["Store"], object]


class SharedStore:
    """One shared store. It is never made, migrated or waited for by a call; what fails is logged once per cause."""

    def __init__(
        self,
        url: str,
        opener: Callable[[], Store],
        *,
        writable: bool = True,
        deadline: float = DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = without_password(url)
        self._opener = opener
        self._writable = writable
        self._deadline = deadline
        self._monotonic = monotonic
        self._rows: dict[_Kernel, dict[str, list[Sweep]]] = {}
        self._rests_until = float("-inf")
        self._logged: set[str] = set()
        self.renew()
        _all.add(self)
        forks.renew_in_child(self)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """The finished sweeps of that identity, as they were when the kernel was first asked for on this device."""
        return self._kernel(problem.kernel, device, kernel_hash).get(problem.key, [])

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Those of all problems of the kernel; none where the store can't tell in time."""
        return [sweep for sweeps in self._kernel(kernel, device, kernel_hash).values() for sweep in sweeps]

    def _kernel(self, kernel: str, device: Device, kernel_hash: str) -> dict[str, list[Sweep]]:
        key = (kernel, kernel_hash, device.digest)
        if key not in self._rows and self._monotonic() >= self._rests_until:
            done = threading.Event()
            self._submit(lambda store: self._read(store, key, device), done)
            if not done.wait(self._deadline):
                self._rests_until = self._monotonic() + REST
                self._log_once("late", f"no answer within {self._deadline:g} s")
        return self._rows.get(key, {})

    def finish_sweep(self, sweep: Sweep) -> None:
        """Write a finished sweep, as best it can: in the background, and not at all where the store fails.

        What does not get there stays in the local store; `tunedb sync` unites the two.
        """
        if self._writable:
            self._submit(lambda store: store.put_sweep(sweep), None)

    def close(self, wait: float = LAST_WORDS) -> None:
        """Give what is still to be written a last chance, of `wait` seconds; what hangs after that is given up."""
        if self._thread is not None:
            done = threading.Event()
            self._submit(lambda _: None, done)
            if not done.wait(wait):
                self.renew()

    def _read(self, store: Store, key: _Kernel, device: Device) -> None:
        found: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in store.get_kernel_sweeps(key[0], device, key[1]):
            found[sweep.problem.key].append(sweep)
        self._rows[key] = dict(found)

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
                if self._monotonic() >= self._rests_until:
                    if self._store is None:
                        self._store = self._opener()
                    job(self._store)
            except Exception as error:  # a store failure never reaches the caller of a kernel
                self._rests_until = self._monotonic() + REST
                self._log_once(type(error).__name__, f"{type(error).__name__}: {error}")
            finally:
                if done is not None:
                    done.set()

    def _log_once(self, cause: str, text: str) -> None:
        if cause not in self._logged:
            self._logged.add(cause)
            _log.warning(
                "Shared store %s can't be used; calls go on with the local one. %s See: tunedb doctor",
                self.url,
                without_passwords(text),
            )


def _close_all() -> None:
    for shared in list(_all):
        shared.close()


atexit.register(_close_all)
