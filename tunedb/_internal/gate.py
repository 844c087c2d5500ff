"""What threads wait for, safe from the exceptions of signal handlers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Gate:
    """A gate that is opened once, by one thread.

    Not threading.Event: an exception of a signal handler that comes in its `wait` can leave its lock taken, and the
    thread that is to set the event then waits for ever.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let all pass that wait."""
        self.is_open = True
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait until the gate is open, for so many seconds at most; return whether it is."""
        if not self.is_open and self._lock.acquire(timeout=seconds):
            self._lock.release()  # if a signal's exception comes before this, the gate is open all the same
        return self.is_open


class Changes:
    """The changes of something, told by one thread at a time."""

    def __init__(self) -> None:
        self.next = Gate()

    def tell(self) -> None:
        """Let those look again that wait for a change."""
        change, self.next = self.next, Gate()
        change.open()


class Until:
    """A condition that some change makes true."""

    def __init__(self, changes: Changes, is_true: Callable[[], bool]) -> None:
        self._changes = changes
        self._is_true = is_true

    def wait(self, seconds: float) -> bool:
        """Wait until it is true, for so many seconds at most; return whether it is."""
        until = time.monotonic() + seconds
        while True:
            change, left = self._changes.next, until - time.monotonic()
            if self._is_true():
                return True
            if left <= 0:
                return False
            change.wait(left)
