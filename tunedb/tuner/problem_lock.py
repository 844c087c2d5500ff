"""One sweeper per problem and device: among the threads of a process, and among the processes of a machine."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tunedb.core.device import Device
from tunedb.core.problem import Problem

LINGER = 10.0  # seconds for which a lock is kept for a result that the store does not take at once
PAUSE = 0.05  # seconds between two tries

_log = logging.getLogger("tunedb")
_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_guard = threading.Lock()
_here = threading.local()  # `names`: the locks that this thread holds
_told: set[Path] = set()  # folders that can hold no lock


def _renew() -> None:
    """In a forked child: a lock that another thread of the parent held would stay locked for ever.

    What the forking thread itself holds stays its own: it waits for its parent's sweep as little as the parent does.
    """
    global _guard
    _guard = threading.Lock()
    _threads.clear()


os.register_at_fork(after_in_child=_renew)


class ProblemLock:
    """Whether the lock is held, and what it is to be kept for when its holder goes on."""

    def __init__(self, lock: FileLock | None, *, held: bool) -> None:
        self.held = held
        self._lock = lock
        self._is_done: Callable[[], bool] | None = None

    def keep_until(self, is_done: Callable[[], bool]) -> None:
        """Other processes stay out until then, though the holder does not wait: for ten seconds at most."""
        self._is_done = is_done

    def _end(self) -> None:
        if self._is_done is None or self._lock is None:
            self._release()
        else:
            try:
                threading.Thread(target=self._linger, name="tunedb-late-result", daemon=True).start()
            except RuntimeError:  # too many threads, or Python is going down
                self._release()

    def _linger(self) -> None:
        assert self._is_done is not None
        deadline = time.monotonic() + LINGER
        try:
            while not self._is_done() and time.monotonic() < deadline:
                time.sleep(PAUSE)
        finally:
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


@contextlib.contextmanager
def single_flight(
    folder: Path, problem: Problem, device: Device, timeout: float, is_known: Callable[[], bool] = lambda: False
) -> Iterator[ProblemLock]:
    """Hold the lock of this problem and device, if it can be had within `timeout` seconds.

    It is not held either where another thread of this process had it and the answer `is_known` since: the file's lock
    may be kept for other processes then. Nor where this very thread has it, in a sweep that calls what it tunes.

    The lock goes when the process ends, however it ends. Where the folder can't hold a lock file, only the threads of
    this process exclude each other: two processes may then sweep the same problem, which costs time and no more.
    """
    name = f"{problem.kernel}-{problem.digest[:16]}-{device.digest[:8]}.lock"
    timeout = min(max(timeout, 0.0), threading.TIMEOUT_MAX)  # also of an infinite one
    deadline = time.monotonic() + timeout
    held = _here.__dict__.setdefault("names", set())
    if f"{folder}/{name}" in held:
        yield ProblemLock(None, held=False)
        return
    with _guard:
        thread_lock = _threads[f"{folder}/{name}"]
    waited = not thread_lock.acquire(blocking=False)
    if waited and not thread_lock.acquire(timeout=timeout):
        yield ProblemLock(None, held=False)
        return
    try:
        if waited and is_known():
            yield ProblemLock(None, held=False)
            return
        file_lock = _file_lock(folder / name, max(deadline - time.monotonic(), 0))
        if isinstance(file_lock, Timeout):
            yield ProblemLock(None, held=False)
            return
        flight = ProblemLock(file_lock, held=True)
        held.add(f"{folder}/{name}")
        try:
            yield flight
        finally:
            held.discard(f"{folder}/{name}")
            flight._end()
    finally:
        thread_lock.release()


def _file_lock(path: Path, timeout: float) -> FileLock | Timeout | None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path, mode=0o600, thread_local=False)  # another thread may release it
        lock.acquire(timeout=timeout, poll_interval=PAUSE)
    except Timeout as late:
        return late
    # The latter is filelock's word for a file system without locks. Neither must keep a call from its config.
    except (OSError, NotImplementedError) as error:
        if path.parent not in _told:
            _told.add(path.parent)
            _log.warning("No lock files in %s (%s): processes may tune the same problem twice.", path.parent, error)
        return None
    return lock
