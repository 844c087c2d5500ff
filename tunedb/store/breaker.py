"""A circuit breaker: a store that failed is left alone for a while, and each cause is logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tunedb._internal.redact import without_password, without_passwords
from tunedb.errors import StoreError

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


class FailureLog:
    """A log with one warning per cause, however often a store fails because of it."""

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        self._causes: set[str] = set()

    def warn(self, error: Exception) -> None:
        """Log the failure, unless one of that cause was logged before."""
        if type(error).__name__ in self._causes:
            return
        self._causes.add(type(error).__name__)
        _log.warning(
            "Store %s can't be used; calls go on with what is in memory. %s: %s%s",
            self.url,
            type(error).__name__,
            without_passwords(str(error)),
            "" if not isinstance(error, StoreError) or "tunedb " in str(error) else " See: tunedb path -v",
        )
