"""An event that happens once, for threads to wait for."""

from __future__ import annotations

import threading


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
