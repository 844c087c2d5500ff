"""Which of several stored sweeps answers a call: pure functions over records, no SQL.

The order is total and looks at facts alone, so that stores that hold the same sweeps name the same winner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

from tunedb.device import Environment
from tunedb.problem import Config
from tunedb.records import Sweep

Source = Literal["store", "stale"]


def ranked(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
) -> list[tuple[Sweep, Source]]:
    """The sweeps that can answer, best first, each as `store` or, from another environment, `stale`.

    The sweeps are of one problem, device and kernel hash. Pinned comes first, then valid before stale (without an
    environment, for a device that is not here, nothing is stale), complete before cut short, newest finished, then the
    greater uid; times of different sweeps are never compared. Passed over are what is quarantined, a config outside
    today's search space, of which `known` says False, and a sweep that has expired by `now`.
    """

    def strength(sweep: Sweep) -> tuple[bool, bool, bool, datetime, str]:
        assert sweep.finished is not None  # it is tuned
        return sweep.is_pinned, is_valid(sweep), sweep.complete, sweep.finished, sweep.uid

    def is_valid(sweep: Sweep) -> bool:
        return environment is None or sweep.environment == environment

    def is_usable(sweep: Sweep) -> bool:
        if sweep.status != "tuned" or sweep.config is None or sweep.is_quarantined or _has_expired(sweep, now):
            return False
        return known is None or known(sweep.config)

    best_first = sorted(filter(is_usable, sweeps), key=strength, reverse=True)
    return [(sweep, "store" if is_valid(sweep) else "stale") for sweep in best_first]


def winner(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
) -> tuple[Sweep, Source] | None:
    """The first of `ranked`, or None."""
    return next(iter(ranked(sweeps, environment, known, now)), None)


def has_failed(sweeps: Iterable[Sweep], environment: Environment | None, now: datetime) -> bool:
    """Whether a failed sweep of this environment has not expired yet: until then, sweeping again is pointless.

    Without an expiry a failure stands in nobody's way.
    """
    return any(
        sweep.status == "failed"
        and sweep.expires is not None
        and not _has_expired(sweep, now)
        and (environment is None or sweep.environment == environment)
        for sweep in sweeps
    )


def _has_expired(sweep: Sweep, now: datetime | None) -> bool:
    return now is not None and sweep.expires is not None and sweep.expires <= now
