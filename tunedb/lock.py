"""One sweeper per problem and device: among the threads of a process, and among the processes of a machine."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tunedb.device import Device
from tunedb.problem import Problem

_log = logging.getLogger("tunedb")
_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_guard = threading.Lock()
_told: set[Path] = set()  # folders that can hold no lock


def _renew() -> None:
    """In a forked child: a lock that another thread of the parent held would stay locked for ever."""
    global _guard
    _guard = threading.Lock()
    _threads.clear()


os.register_at_fork(after_in_child=_renew)


@contextlib.contextmanager
def single_flight(folder: Path, problem: Problem, device: Device, timeout: float) -> Iterator[bool]:
    """Hold the lock of this problem and device; yields False where it could not be had within `timeout` seconds.

    The lock goes when the process ends, however it ends. Where the folder can't hold a lock file, only the threads of
    this process exclude each other: two processes may then sweep the same problem, which costs time and no more.
    """
    name = f"{problem.kernel}-{problem.digest[:16]}-{device.digest[:8]}.lock"
    timeout = min(max(timeout, 0.0), threading.TIMEOUT_MAX)  # also of an infinite one
    deadline = time.monotonic() + timeout
    with _guard:
        thread_lock = _threads[f"{folder}/{name}"]
    if not thread_lock.acquire(timeout=timeout):
        yield False
        return
    try:
        file_lock = _file_lock(folder / name, max(deadline - time.monotonic(), 0))
        if isinstance(file_lock, Timeout):
            yield False
            return
        try:
            yield True
        finally:
            if file_lock is not None:
                file_lock.release()
    finally:
        thread_lock.release()


def _file_lock(path: Path, timeout: float) -> FileLock | Timeout | None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path, mode=0o600)
        lock.acquire(timeout=timeout, poll_interval=0.05)
    except Timeout as late:
        return late
    except (OSError, NotImplementedError) as error:  # the latter from filelock, where the file system has no locks
        if path.parent not in _told:
            _told.add(path.parent)
            _log.warning("No lock files in %s (%s): processes may tune the same problem twice.", path.parent, error)
        return None
    return lock
