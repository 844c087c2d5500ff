"""The compile worker: a process that compiles kernels into Triton's cache on disk, on several forks of itself.

Threads that compile share Python's lock with each other and with the thread that times. This process imports Triton
but not torch, so that it starts in a tenth of the time, before one kernel is compiled; and it has no CUDA
context, so that it may fork. It only fills the cache: what it could not compile, its parent compiles again, and sees
the error.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import logging
import multiprocessing
import os
import pickle
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

from tunedb import settings
from tunedb._internal.child_environment import environment_without
from tunedb._internal.control import suppress
from tunedb.runtime.compile_job import CompileJob, preload

START_TIMEOUT_S = 30.0  # until the worker must be ready to fork: it imports Triton and the kernel's module. Chosen

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tunedb.runtime.compile_worker import main
main()
"""
_EXIT_TIMEOUT_S = 5.0  # until it must have ended by itself. Chosen
_NICENESS = 5  # below the process that times
_PARENT_CHECK_S = 1.0  # between checks that the parent lives. Usually its closed socket ends the worker sooner
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)

_log = logging.getLogger("tunedb")


class CompileWorker:
    """The parent's side of the process. Raises OSError if none can be started."""

    def __init__(self, workers: int) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("expected a Python interpreter that can be started again, got a frozen program")
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[float | None]] | None = {}  # None once it is closed
        self._is_ready = threading.Event()
        with contextlib.ExitStack() as cleanup:
            self._socket, theirs = socket.socketpair()
            cleanup.callback(self._socket.close)
            with theirs:
                path = json.dumps([folder for folder in sys.path if isinstance(folder, str)])
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _START, path, str(theirs.fileno()), str(workers)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], start_new_session=True, env=environment_without(),
                )  # fmt: skip
            cleanup.callback(self._end)
            self._connection = Connection(os.dup(self._socket.fileno()))
            threading.Thread(target=self._read, name="tunedb-compiler", daemon=True).start()
            cleanup.pop_all()

    def compile(self, job: CompileJob) -> float | None:
        """Wait until the kernel is in the cache, and return the seconds that it took.

        Returns None if it does not compile, if the job can't be sent, or if the worker ended or never started.
        """
        answer: Future[float | None] = Future()
        with self._lock:
            if self._waiting is None:
                return None
            number = next(self._numbers)
            try:
                self._connection.send((number, job))
            except (
                OSError,
                TypeError,
                ValueError,
                AttributeError,
                pickle.PicklingError,
            ):  # the worker has ended, or the job can't be pickled
                return None
            self._waiting[number] = answer
        if not self._is_ready.wait(START_TIMEOUT_S):
            _log.info("The compile worker is not ready after %.0f s: threads compile instead.", START_TIMEOUT_S)
            self.close()
        return answer.result()

    @property
    def is_idle(self) -> bool:
        """Whether the worker is open, and nothing waits for it."""
        with self._lock:
            return self._waiting is not None and not self._waiting

    def close(self) -> None:
        """End the process and the compiles that it runs. Every waiting call returns None."""
        self._answer_all()
        with suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def _answer_all(self) -> bool:
        """Answer every waiting call with None. Returns whether the worker was open until now."""
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
            was_open = self._answer_all()
            self._connection.close()
            self._socket.close()
            self._end()
            if was_open:
                code = self._process.returncode
                _log.info("The compile worker ended (exit code %s): threads compile instead.", code)

    def _end(self) -> None:
        try:
            self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Compile the jobs that the parent sends, until it closes its socket or ends."""
    settings.record_nothing()  # the configs of a sweep: and asking for the current device makes a CUDA context
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is sent to the whole group, to end the forks
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # reap the assembler of a fork that ended
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="tunedb-") as folder:
        tempfile.tempdir = folder  # so that an interrupted compile leaves no files
        with contextlib.suppress(EOFError, OSError):
            _serve(Connection(int(sys.argv[2])), int(sys.argv[3]))
        os.killpg(0, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    os._exit(0)


def _serve(connection: Connection, workers: int) -> None:
    os.nice(_NICENESS)
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
        number, job = connection.recv()
        try:
            job.find()  # imports its module, before the fork
        # A user's module may raise anything when it is imported. The parent has imported it, and compiles itself.
        except Exception:
            answer(number, None)
            continue
        for _ in range(2):
            pool = pool or ProcessPoolExecutor(workers, fork, initializer=_begin_fork, initargs=made)
            try:
                future = pool.submit(_compile, job)
            except BrokenProcessPool:  # a fork crashed: the parent compiles what all forks were compiling
                pool = None
            else:
                answer(-1, None)  # ready
                future.add_done_callback(partial(done, number))
                break
        else:
            answer(number, None)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os.killpg(0, signal.SIGTERM)
    if tempfile.tempdir is not None:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    os._exit(0)


def _begin_fork(descriptor: int, parent: int) -> None:
    os.close(descriptor)  # otherwise this process would hold the connection open
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _compile(job: CompileJob) -> float | None:
    start = time.perf_counter()
    try:
        job.compile()
    # Triton may raise anything, also what can't be pickled. The parent compiles again, and reports the error.
    except Exception:
        return None
    return time.perf_counter() - start
