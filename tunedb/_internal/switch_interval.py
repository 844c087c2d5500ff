"""How long a thread that runs Python may keep others waiting."""

from __future__ import annotations

import os
import sys
import threading

SWITCHES = 1e-5  # seconds after which a thread that runs Python gives way


class _GivingWay:
    """Have threads that run Python give way sooner, for a block: of the usual five milliseconds one that mostly works
    outside of Python, and comes back often, would wait for most.

    Two may be in it at once; the last one to end puts back what the first one found, and so does a forked child.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = sys.getswitchinterval()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(SWITCHES)
            self._inside += 1

    def __exit__(self, *of_no_interest: object) -> None:
        with self._lock:
            self._inside = max(self._inside - 1, 0)  # a forked child may have begun in the middle of a block
            if not self._inside:
                sys.setswitchinterval(self._before)

    def in_child(self) -> None:
        """The threads that were in it are not here."""
        if self._inside:
            sys.setswitchinterval(self._before)
        self._begin()


giving_way = _GivingWay()
os.register_at_fork(after_in_child=giving_way.in_child)
