"""The lock of a problem on a device: one sweep of it at a time, among the threads and processes of a machine."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tunedb._internal import forks, safe_path
from tunedb._internal.control import let_pass, suppress
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.tuner import lock_file

MAX_KEEP_S = 10.0  # that a lock is kept until the store takes the result
POLL_S = 0.05  # between two tries

_log = logging.getLogger("tunedb")
_thread_locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # only its holder can release one
_guard = threading.Lock()
_this_thread = threading.local()  # `held`: the names of the locks that this thread holds
_logged: set[Path] = set()  # folders that can hold no lock file


@forks.in_child
def _renew() -> None:
    """Make the locks again in a forked child: another thread of the parent may hold them.

    The locks of the forking thread stay its own: like its parent, it does not wait for its parent's sweep.
    """
    global _guard
    _guard = threading.Lock()
    _thread_locks.clear()


class ProblemLock:
    """A problem's lock: whether it is held, and how long to keep it once its holder has gone on."""

    def __init__(self, file_lock: FileLock | None, *, held: bool) -> None:
        self.held = held
        self._file_lock = file_lock
        self._identity = None if file_lock is None else lock_file.identity(Path(file_lock.lock_file))
        self._is_done: Callable[[], bool] | None = None

    @property
    def excludes_processes(self) -> bool:
        """Whether it keeps out other processes too, and not only other threads."""
        return self._file_lock is not None

    @property
    def identity(self) -> tuple[int, int] | None:
        """The device and inode of the lock file that is held; None if there is none."""
        return self._identity if self.held else None

    def keep_until(self, is_done: Callable[[], bool]) -> None:
        """Keep other processes out until `is_done`, for ten seconds at most; the holder does not wait."""
        self._is_done = is_done

    def _end(self) -> None:
        if self._is_done is None or self._file_lock is None:
            self._release()
            return
        try:
            threading.Thread(target=self._keep, name="tunedb-late-result", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # too many threads, or Python is ending
            let_pass(error)
            self._release()

    def _keep(self) -> None:
        assert self._is_done is not None
        deadline = time.monotonic() + MAX_KEEP_S
        try:
            while not self._is_done() and time.monotonic() < deadline:
                time.sleep(POLL_S)
        finally:
            self._release()

    def _release(self) -> None:
        if self._file_lock is not None:
            lock_file.check_kept(Path(self._file_lock.lock_file), self._identity)
            self._file_lock.release()


@contextlib.contextmanager
def lock_problem(
    folder: Path, problem: Problem, device: Device, timeout: float, is_known: Callable[[], bool] = lambda: False
) -> Iterator[ProblemLock]:
    """Hold the lock of this problem and device, if it is free within `timeout` seconds.

    It is not held either if another thread of this process had it and the answer `is_known` since: its file may then
    be kept for other processes. Nor if this thread already holds it, in a sweep that calls the kernel it tunes.

    The lock goes when the process ends, however it ends. If the folder can't hold a lock file, only the threads of
    this process exclude each other: two processes may then sweep the same problem, which only costs time.
    """
    path = folder / f"{_shard(problem, device)}.lock"
    timeout = min(max(timeout, 0.0), threading.TIMEOUT_MAX)  # also of an infinite one
    deadline = time.monotonic() + timeout
    held = _this_thread.__dict__.setdefault("held", set())
    if str(path) in held:
        yield ProblemLock(None, held=False)
        return
    with _guard:
        thread_lock = _thread_locks[str(path)]
    try:
        has_waited = not thread_lock.acquire(blocking=False)
        if has_waited and (not thread_lock.acquire(timeout=timeout) or is_known()):
            yield ProblemLock(None, held=False)
            return
        file_lock = _file_lock(path, max(deadline - time.monotonic(), 0))
        if isinstance(file_lock, Timeout):
            yield ProblemLock(None, held=False)
            return
        lock = ProblemLock(file_lock, held=True)
        try:
            held.add(str(path))
            yield lock
        finally:
            held.discard(str(path))
            lock._end()
    finally:
        # Also if a signal handler raised between taking the lock and the next statement.
        with suppress(RuntimeError):  # it was not taken
            thread_lock.release()


def _shard(problem: Problem, device: Device) -> str:
    """Return the name of the problem's lock: 4096 names bound the number of files, which are never removed.

    A file that is removed while another process waits for it would let two in. Problems that share a name are tuned
    one after the other.
    """
    words = f"{problem.kernel}\0{problem.digest}\0{device.digest}"
    return hashlib.sha256(words.encode()).hexdigest()[:3]


def _file_lock(path: Path, timeout: float) -> FileLock | Timeout | None:
    try:
        safe_path.make_folders(safe_path.resolve(path.parent))
        safe_path.resolve(path)
        mode = lock_file.share(path.parent)
        lock = FileLock(path, mode=mode, thread_local=False)  # another thread may release it
        lock.acquire(timeout=timeout, poll_interval=POLL_S)
    except Timeout as late:
        return late
    # filelock raises NotImplementedError on a file system without locks. Neither may keep a call from its config.
    except (OSError, NotImplementedError, ValueError) as error:  # ValueError: a path that can't be encoded
        let_pass(error)
        if path.parent not in _logged:
            _logged.add(path.parent)
            _log.warning(
                "No lock files in %s (%s): processes may tune the same problem twice.", path.parent, str(error)
            )
        return None
    return lock
