"""A process that compiles kernels into Triton's cache on disk, on as many forks of itself as it is told.

Threads that compile share Python's lock with each other and with the one that times. This process imports Triton
alone, which takes a tenth of what torch takes, and so is there before one kernel is compiled; and it has no CUDA
context, so that it may fork. It only fills the cache: what it could not compile, whoever loads it compiles again and
sees why.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection

from tunedb.runtime.compile_job import CompileJob, preload

STARTING = 30.0  # seconds in which the process has to be ready to fork: it imports Triton and the kernel's module

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tunedb.runtime.compile_worker import main
main()
"""
_ENDING = 5.0  # seconds that it has to come to its end
_NICE = 5  # so that the process that times comes first
_LOOK = 1.0  # seconds between looks whether the parent still lives, which closes its end when it does not
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)

_log = logging.getLogger("tunedb")


class CompileWorker:
    """The process, from its parent's side. Raises OSError where none can be started."""

    def __init__(self, workers: int) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("this program is no Python interpreter that could be started again")
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[float | None]] | None = {}  # None once it is closed
        self._is_ready = threading.Event()
        with contextlib.ExitStack() as undoing:
            self._socket, theirs = socket.socketpair()
            undoing.callback(self._socket.close)
            with theirs:
                path = json.dumps([one for one in sys.path if isinstance(one, str)])
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, path, str(theirs.fileno()), str(workers)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], start_new_session=True,
                )  # fmt: skip
            undoing.callback(self._end)
            self._connection = Connection(os.dup(self._socket.fileno()))
            threading.Thread(target=self._read, name="tunedb-compiler", daemon=True).start()
            undoing.pop_all()

    def compile(self, recipe: CompileJob) -> float | None:
        """Return when the kernel is in the cache, with the seconds that it took; or None when it will not be there.

        That is because it does not compile, because it can't be sent, or because the process ended or never began.
        """
        answer: Future[float | None] = Future()
        with self._lock:
            if self._waiting is None:
                return None
            number = next(self._numbers)
            try:
                self._connection.send((number, recipe))
            except (OSError, TypeError, ValueError, AttributeError):  # ended, or something in it can't be pickled
                return None
            self._waiting[number] = answer
        if not self._is_ready.wait(STARTING):
            _log.info("The process that compiles is not ready after %.0f s: threads compile.", STARTING)
            self.close()
        return answer.result()

    def close(self) -> None:
        """End the process, and with it what it compiles. Nobody waits for it any more."""
        self._let_go()
        with contextlib.suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> bool:
        """Answer all who wait; whether it was open until now."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        self._is_ready.set()
        for answer in (waiting or {}).values():
            answer.set_result(None)
        return waiting is not None

    def _read(self) -> None:
        try:
            while True:
                number, seconds = self._connection.recv()
                self._is_ready.set()
                with self._lock:
                    answer = (self._waiting or {}).pop(number, None)
                if answer is not None:
                    answer.set_result(seconds)
        except (EOFError, OSError):
            pass
        finally:
            was_open = self._let_go()
            self._connection.close()
            self._socket.close()
            self._end()
            if was_open:
                _log.info("The process that compiles ended (exit code %s): threads compile.", self._process.returncode)

    def _end(self) -> None:
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Compile what the parent sends, until it closes its end or ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is how the end of all others in the group is made
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # an assembler of a fork that ended is ours to reap
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="tunedb-") as folder:
        tempfile.tempdir = folder  # so that nothing is left of what was being compiled
        with contextlib.suppress(EOFError, OSError):
            _serve(Connection(int(sys.argv[2])), int(sys.argv[3]))
        os.killpg(0, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    os._exit(0)


def _serve(connection: Connection, workers: int) -> None:
    os.nice(_NICE)
    sending = threading.Lock()

    def answer(number: int, seconds: float | None) -> None:
        with sending, contextlib.suppress(OSError):
            connection.send((number, seconds))

    def done(number: int, future: Future[float | None]) -> None:
        answer(number, None if future.cancelled() or future.exception() else future.result())

    preload()
    made, fork = (connection.fileno(), os.getpid()), multiprocessing.get_context("fork")
    pool = None
    while True:
        number, recipe = connection.recv()
        try:
            recipe.find()  # imported here, the forks have it
        # A user's module may raise anything as it is imported. The parent has it, and compiles by itself.
        except Exception:
            answer(number, None)
            continue
        for _ in range(2):
            pool = pool or ProcessPoolExecutor(workers, fork, initializer=_begin_fork, initargs=made)
            try:
                future = pool.submit(_compile, recipe)
            except BrokenProcessPool:  # a fork crashed: what it and the others were at, the parent compiles
                pool = None
            else:
                answer(-1, None)  # ready
                future.add_done_callback(partial(done, number))
                break
        else:
            answer(number, None)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.killpg(0, signal.SIGTERM)
    if tempfile.tempdir is not None:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os._exit(0)


def _begin_fork(descriptor: int, parent: int) -> None:
    os.close(descriptor)  # else this process would hold the connection open
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _compile(recipe: CompileJob) -> float | None:
    start = time.perf_counter()
    try:
        recipe.compile()
    # Triton may raise anything, also what can't be pickled. The parent compiles again, and tells why it fails.
    except Exception:
        return None
    return time.perf_counter() - start
