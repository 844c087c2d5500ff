"""The messages that a worker gets from its parent, read on a thread from the start: it notices the parent's end."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tunedb.store.shared import CLOSE_S
from tunedb.worker.messages import FINISH_S, decode

ORPHAN_S = 3.0  # in which a worker whose parent is gone stops what it does; by judgement


class Inbox:
    """The messages in order. When stdin ends, the parent is gone: the process ends, whatever its main thread does.

    At work (`is_at_work`), it gets SIGTERM first, and the time to give back its claim and to send what waits: that
    `is_ending` is set within `ORPHAN_S` says that the main thread does so. Before, it has nothing to give back.
    """

    def __init__(self) -> None:
        self.is_at_work = False
        self.is_orphan = False
        self.is_ending = threading.Event()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(_take_stdin(),), name="tunedb-inbox", daemon=True).start()

    def get(self) -> Any:
        """Wait for the next message and return it."""
        return self._messages.get()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as file, contextlib.suppress(ValueError):  # a line that the parent's end cut off
            for line in file:
                self._messages.put(decode(line))
        self.is_orphan = True
        if self.is_at_work:
            os.kill(os.getpid(), signal.SIGTERM)
            if self.is_ending.wait(ORPHAN_S):
                time.sleep(FINISH_S + CLOSE_S)  # it ends by itself before
        os._exit(0)  # a kernel hangs, or a store, or a module that is being imported


def _take_stdin() -> int:
    """Return a descriptor of what is stdin, and have all others that read stdin find its end at once.

    The code of a kernel may read it, close it, or give it to processes of its own.
    """
    descriptor = os.dup(0)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    return descriptor
