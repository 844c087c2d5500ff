"""A circuit breaker: a store that failed is left alone for a while, and each cause is logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable

RETRY_AFTER_S = 30.0  # long enough to cost calls little, short enough for a server that restarts

_log = logging.getLogger("tunedb")


class Breaker:
    """A breaker that says whether to leave a store alone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rests_until = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the store failed a short while ago, so that nothing should be asked of it."""
        return self._monotonic() < self._rests_until

    def trip(self) -> None:
        """Leave the store alone from now on, for RETRY_AFTER_S seconds."""
        self._rests_until = self._monotonic() + RETRY_AFTER_S

    def reset(self) -> None:
        """Use the store again."""
        self._rests_until = float("-inf")


class CauseLog:
    """A log with one warning per cause, however often a store fails because of it."""

    def __init__(self) -> None:
        self._causes: set[str] = set()

    def warn(self, cause: str, message: str, *arguments: object) -> None:
        """Log the message, unless the cause was logged before."""
        if cause not in self._causes:
            self._causes.add(cause)
            _log.warning(message, *arguments)
