"""The process of a worker: started with a pipe for its events, which a thread reads into a queue."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tunedb._internal.child_environment import environment_without
from tunedb.worker.messages import Event, Finish, Prepare, Request, Start, decode, encode

Events = queue.SimpleQueue[Event | None]  # None: the worker has closed its pipe
Started = tuple[subprocess.Popen[str], Events]


def start_process(variables: Mapping[str, str]) -> Started:
    """Start a worker with these environment variables set; return it and its events, which None ends."""
    # `-m` looks in the current folder first, whose files may have the names of modules: allowed only if we do too.
    safely = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    read_end, write_end = os.pipe()
    # Ctrl-C reaches the worker too, which would print a trace if it is still loading torch: it inherits the block.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(
            [sys.executable, *safely, "-m", "tunedb.worker.child", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=2,  # what kernels print must not mix with the command's output
            pass_fds=[write_end],
            env=environment_without() | dict(variables),
            text=True,
        )
    finally:
        os.close(write_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    events: Events = queue.SimpleQueue()
    threading.Thread(target=_read, args=(read_end, events), daemon=True).start()
    return process, events


def tell(process: subprocess.Popen[str], message: Prepare | Start | Request | Finish) -> None:
    """Write a message to a worker. The end of one that has ended is seen in its events."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(encode(message))
        process.stdin.flush()


def end_process(process: subprocess.Popen[str], patience: float, last: Finish | None = None) -> int | None:
    """End a worker, with a last message if there is one; return its exit code if it ends by itself in time."""
    assert process.stdin is not None
    code = None
    if last is not None:
        tell(process, last)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(patience)
    finally:
        process.kill()
        process.wait()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    return code


def _read(file_descriptor: int, events: Events) -> None:
    with os.fdopen(file_descriptor) as file, contextlib.suppress(ValueError):  # a line that the worker's end cut off
        for line in file:
            events.put(decode(line))
    events.put(None)
