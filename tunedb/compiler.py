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
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.connection import Connection

from tunedb.recipe import Recipe, preload

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tunedb.compiler import main; main()"
_NICE = 5  # so that the process that times comes first
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOOK = 5.0  # seconds between looks whether the parent still lives, which closes its end when it does not


class Compiler:
    """The process, from its parent's side. Raises OSError where none can be started."""

    def __init__(self, workers: int) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            given = [json.dumps(sys.path), str(theirs.fileno()), str(workers)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, *given],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, threading.Event] | None = {}  # None once the process has ended
        threading.Thread(target=self._read, daemon=True).start()

    def compile(self, recipe: Recipe) -> None:
        """Return when the kernel is in the cache, or will not be: because it fails, or the process ended."""
        done = threading.Event()
        with self._lock:
            if self._waiting is None:
                return
            number = next(self._numbers)
            try:
                self._connection.send((number, recipe))
            except (OSError, TypeError, ValueError, AttributeError):  # ended, or something in it can't be pickled
                return
            self._waiting[number] = done
        done.wait()

    def close(self) -> None:
        """End the process, and with it what it compiles. Nobody waits for it any more."""
        with contextlib.suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number = self._connection.recv()
                with self._lock:
                    assert self._waiting is not None  # it is this thread that ends it
                    self._waiting.pop(number).set()
        with self._lock:
            waiting, self._waiting = self._waiting or {}, None
        for done in waiting.values():
            done.set()
        self._connection.close()
        self._socket.close()
        self._process.wait()


def main() -> None:
    """Compile what the parent sends, until it closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent as well
    os.nice(_NICE)
    connection, parent = Connection(int(sys.argv[2])), os.getppid()
    sending = threading.Lock()

    def answer(number: int, _: object = None) -> None:
        with sending, contextlib.suppress(OSError):
            connection.send(number)

    preload()
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(int(sys.argv[3]), fork, initializer=_die_with_parent, initargs=(connection.fileno(),))
    with contextlib.suppress(EOFError, OSError):
        while True:
            while not connection.poll(_LOOK):
                if os.getppid() != parent:
                    raise EOFError
            number, recipe = connection.recv()
            try:
                recipe.find()  # imported here, the forks have it
                future = pool.submit(_compile, recipe)
            except Exception:
                # Broad, because it is passed on: the parent compiles it again, and sees why.
                answer(number)
            else:
                future.add_done_callback(partial(answer, number))
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


def _die_with_parent(descriptor: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(descriptor)  # else this process would hold the connection open


def _compile(recipe: Recipe) -> None:
    recipe.compile()
