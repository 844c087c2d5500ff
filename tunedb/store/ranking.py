"""The ranking of stored sweeps: which of them answers a call, and why not the others. Pure functions, no SQL.

The order is total and looks at facts alone, so that stores that hold the same sweeps name the same winner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, NamedTuple, cast

from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Source, Sweep

Obstacle = Literal["running", "failed", "aborted", "quarantined", "expired", "outside the space"]


class Strength(NamedTuple):
    """The strength of a sweep. Of two that can both answer, the first field in which they differ decides."""

    pinned: bool
    valid: bool
    complete: bool
    finished: datetime
    uid: str


def obstacle(
    sweep: Sweep, known: Callable[[Config], bool] | None = None, now: datetime | None = None
) -> Obstacle | None:
    """Return why the sweep can't answer a call; None if it can.

    `known` says whether a config is in today's search space, `now` is the time by which a sweep may have expired.
    """
    if sweep.status != "tuned" or sweep.config is None:
        return cast("Obstacle", str(sweep.status))  # never "tuned", which has a config
    if sweep.is_quarantined:
        return "quarantined"
    if _has_expired(sweep, now):
        return "expired"
    return None if known is None or known(sweep.config) else "outside the space"


def strength(sweep: Sweep, environment: Environment | None) -> Strength:
    """Return a finished sweep's strength in this environment; without one, every sweep is valid."""
    assert sweep.finished is not None
    valid = environment is None or sweep.environment == environment
    return Strength(sweep.is_pinned, valid, sweep.complete, sweep.finished, sweep.uid)


def ranked(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
) -> list[tuple[Sweep, Source]]:
    """Return the sweeps that can answer, best first, each as `store` or, from another environment, `stale`.

    The sweeps are of one problem, device and kernel hash. Those with an `obstacle` are left out; the others are ordered
    by their `strength`: pinned first, then valid before stale, complete before cut short, newest finished, then the
    greater uid. Times of different sweeps are never compared.
    """
    able = [(strength(sweep, environment), sweep) for sweep in sweeps if obstacle(sweep, known, now) is None]
    best_first = sorted(able, key=lambda pair: pair[0], reverse=True)
    return [(sweep, Source.STORE if strong.valid else Source.STALE) for strong, sweep in best_first]


def winner(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
) -> tuple[Sweep, Source] | None:
    """Return the best sweep that can answer, or None."""
    return next(iter(ranked(sweeps, environment, known, now)), None)


def winners(
    sweeps: Iterable[Sweep], environment: Environment | None, now: datetime | None = None
) -> list[tuple[Sweep, Source]]:
    """Return the winner of each problem among the sweeps of a kernel on a device."""
    by_problem: dict[str, list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        by_problem[sweep.problem.key].append(sweep)
    best = (winner(group, environment, now=now) for group in by_problem.values())
    return [answer for answer in best if answer is not None]


def has_failed(sweeps: Iterable[Sweep], environment: Environment | None, now: datetime) -> bool:
    """Say whether a failed sweep of this environment has not expired yet: until then, sweeping again is pointless.

    A failure without an expiry prevents nothing.
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
