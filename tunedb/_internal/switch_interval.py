"""Python's switch interval, shortened while tunedb times and compiles, so that its threads wait less for others."""

from __future__ import annotations

import sys
import threading

from tunedb import settings
from tunedb._internal import forks


class ShortSwitchInterval:
    """A context in which threads that run Python give way sooner.

    A thread that mostly works outside of Python, and comes back often, would wait for most of Python's five
    milliseconds each time. The interval is the setting `switch_interval`; 0 changes nothing.

    The interval is the whole process's. Contexts may overlap: the last one to end restores what the first one found. So
    does a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: float | None = None  # the interval to restore; None if it was not changed
        forks.renew_in_child(self)

    def __enter__(self) -> None:
        interval = settings.current().switch_interval
        with self._lock:
            if not self._inside and interval > 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(interval)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside = max(self._inside - 1, 0)  # a forked child may have begun in the middle of a context
            if not self._inside:
                self._restore()

    def renew(self) -> None:
        """Restore the interval in a forked child: the threads that were inside are not here."""
        self._lock = threading.Lock()
        self._inside = 0
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            sys.setswitchinterval(self._before)
            self._before = None


short_switch_interval = ShortSwitchInterval()
