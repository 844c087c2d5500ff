"""A timer that can be armed again and again, for work that is done off the path of a call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tunedb._internal.control import let_pass

_log = logging.getLogger("tunedb")


class RearmingTimer:
    """A timer that runs an action on a daemon thread some seconds after it was armed, and again if the action says so.

    `action` returns whether it wants to run again. Its errors are logged, and it runs again.
    """

    def __init__(self, seconds: float, action: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._action = action
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def arm(self) -> None:
        """Run the action after the interval, unless that is already planned."""
        with self._lock:
            is_planned = self._timer is not None and self._timer.is_alive()
            if is_planned or self._is_closed:
                return
            timer = threading.Timer(self._seconds, self._run)
            timer.daemon = True
            try:
                timer.start()
            except (RuntimeError, MemoryError) as error:  # too many threads, or Python is ending: `arm` tries again
                let_pass(error)
                return
            self._timer = timer

    def cancel(self) -> None:
        """Drop what is planned; it can be armed again."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def close(self) -> None:
        """Drop what is planned, for good."""
        self._is_closed = True
        self.cancel()

    def renew(self) -> None:
        """Plan nothing in a forked child, which should not get a thread by being forked: the next `arm` plans again."""
        self._lock = threading.Lock()
        self._timer = None

    def _run(self) -> None:
        with self._lock:
            self._timer = None  # so that what comes in during the action is not missed
        try:
            goes_on = self._action()
        # On a timer's thread nothing else could handle it.
        except Exception:
            _log.exception("Background work of tunedb failed; it is tried again in %g s.", self._seconds)
            goes_on = True
        if goes_on:
            self.arm()
