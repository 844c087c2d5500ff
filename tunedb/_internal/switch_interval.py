"""How long a thread that runs Python may keep others waiting, while tunedb times and compiles."""

from __future__ import annotations

import sys
import threading

from tunedb._internal import forks

INTERVAL_S = 1e-5  # after which a thread that runs Python gives way; Python's own interval is 5e-3


class ShortSwitchInterval:
    """A context in which threads that run Python give way sooner.

    A thread that mostly works outside of Python, and comes back often, would wait for most of Python's five
    milliseconds each time. Contexts may overlap: the last one to end restores the interval that the first one found.
    So does a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = sys.getswitchinterval()
        forks.renew_in_child(self)

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(INTERVAL_S)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside = max(self._inside - 1, 0)  # a forked child may have begun in the middle of a context
            if not self._inside:
                sys.setswitchinterval(self._before)

    def renew(self) -> None:
        """Restore the interval in a forked child: the threads that were inside are not here."""
        if self._inside:
            sys.setswitchinterval(self._before)
        self._lock = threading.Lock()
        self._inside = 0


short_switch_interval = ShortSwitchInterval()
