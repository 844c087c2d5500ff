"""The time that one call may wait for stores: one budget for all of them, whatever they do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

CALL_S = 2.0  # by judgement: more would be felt; a healthy store needs some milliseconds

_this_thread = threading.local()  # `budget`: that of the call that this thread is in


class Waitable(Protocol):
    """Work that is done on another thread."""

    def wait(self, seconds: float) -> bool:
        """Wait for the work; return whether it is done."""


class WaitBudget:
    """The seconds that a call may still wait."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.left = seconds
        self._monotonic = monotonic

    def wait(self, work: Waitable, most: float = float("inf")) -> bool:
        """Wait for the work, no longer than `most` seconds and what is left; return whether it is done."""
        start = self._monotonic()
        try:
            return work.wait(max(0.0, min(self.left, most)))
        finally:
            self.left -= self._monotonic() - start


@contextlib.contextmanager
def one_call(seconds: float | None = None) -> Iterator[None]:
    """Give all accesses of this thread in the block one budget; a call within a call has no budget of its own."""
    if getattr(_this_thread, "budget", None) is not None:
        yield
        return
    _this_thread.budget = WaitBudget(CALL_S if seconds is None else seconds)
    try:
        yield
    finally:
        _this_thread.budget = None


def current() -> WaitBudget:
    """Return the budget of the call that this thread is in; outside of a call, one for a single access."""
    return getattr(_this_thread, "budget", None) or WaitBudget(CALL_S)
