"""The ranking of stored sweeps: which of them answers a call, and why not the others. Pure functions, no SQL.

The order is total and looks at facts alone, so that stores that hold the same sweeps name the same winner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, cast

from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Layer, Source, Sweep

Obstacle = Literal["running", "failed", "aborted", "quarantined", "expired", "outside the space", "found wrong here"]
RETRY_AFTER = timedelta(days=1)  # by judgement: a problem whose configs all failed is tried again after this
SKEW = timedelta(minutes=1)  # between the clocks of machines that keep them by NTP, with room
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class Strength(NamedTuple):
    """The strength of a sweep. Of two that can both answer, the first field in which they differ decides."""

    pinned: bool
    valid: bool
    complete: bool
    measured: bool  # in this machine's store or one that it shares, not in a bundle
    finished: datetime  # as `ended` has it
    uid: str


def ended(sweep: Sweep, now: datetime | None) -> datetime:
    """Return the end by which a finished sweep ranks: when it arrived, if it claims to have ended later.

    If that is in the future too, because the clock of this machine was wrong, it ranks behind all others.
    """
    assert sweep.finished is not None
    end = sweep.finished if sweep.arrived is None else min(sweep.finished, sweep.arrived)
    return end if now is None or end - now <= SKEW else _BEFORE_ALL


def obstacle(
    sweep: Sweep,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
    wrong: Collection[Config] = (),
) -> Obstacle | None:
    """Return why the sweep can't answer a call; None if it can.

    `known` says whether a config is in today's search space, `now` is the time by which a sweep may have expired, and
    `wrong` are the configs that a sweep found wrong here (`SweepStore.get_wrong_configs`).
    """
    if sweep.status != "tuned" or sweep.config is None:
        return cast("Obstacle", str(sweep.status))  # never "tuned", which has a config
    if sweep.is_quarantined:
        return "quarantined"
    if _has_expired(sweep, now):
        return "expired"
    if sweep.config in wrong:
        return "found wrong here"
    return None if known is None or known(sweep.config) else "outside the space"


def strength(sweep: Sweep, environment: Environment | None, now: datetime | None = None) -> Strength:
    """Return a finished sweep's strength in this environment; without one, every sweep is valid."""
    valid, measured = sweep.is_valid_in(environment), sweep.layer is not Layer.BUNDLE
    return Strength(sweep.is_pinned, valid, sweep.complete, measured, ended(sweep, now), sweep.uid)


def ranked(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
    wrong: Collection[Config] = (),
) -> list[tuple[Sweep, Source]]:
    """Return the sweeps that can answer, best first, each as `store` or, from another environment, `stale`.

    The sweeps are of one problem, device and kernel hash. Those with an `obstacle` are left out; the others are ordered
    by their `strength`: pinned first, then valid before stale, complete before cut short, those of a store before
    those of a bundle, the last to end, then the greater uid. Times of different sweeps are never compared.
    """
    able = [
        (strength(sweep, environment, now), sweep) for sweep in sweeps if obstacle(sweep, known, now, wrong) is None
    ]
    best_first = sorted(able, key=lambda pair: pair[0], reverse=True)
    return [(sweep, Source.STORE if strong.valid else Source.STALE) for strong, sweep in best_first]


def winner(
    sweeps: Iterable[Sweep],
    environment: Environment | None,
    known: Callable[[Config], bool] | None = None,
    now: datetime | None = None,
    wrong: Collection[Config] = (),
) -> tuple[Sweep, Source] | None:
    """Return the best sweep that can answer, or None."""
    return next(iter(ranked(sweeps, environment, known, now, wrong)), None)


def winners(
    sweeps: Iterable[Sweep], environment: Environment | None, now: datetime | None = None
) -> list[tuple[Sweep, Source]]:
    """Return the winner of each problem among the sweeps of a kernel on a device."""
    by_problem: dict[str, list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        by_problem[sweep.problem.key].append(sweep)
    best = (winner(group, environment, now=now) for group in by_problem.values())
    return [answer for answer in best if answer is not None]


def has_failed(sweeps: Iterable[Sweep], environment: Environment | None, now: datetime, host: str) -> bool:
    """Say whether a sweep of this host and environment failed not long ago: no call sweeps again until it expires.

    Failures of other hosts and imported ones prevent nothing, and neither do quarantined ones.
    """
    return any(
        is_failure(sweep, now)
        and (sweep.origin, sweep.host) == ("local", host)
        and (environment is None or sweep.environment == environment)
        and not sweep.is_quarantined
        for sweep in sweeps
    )


def is_failure(sweep: Sweep, now: datetime) -> bool:
    """Say whether a sweep failed, or met a fault of its host, and has not expired yet.

    It expires RETRY_AFTER its end at the latest. One that claims to have ended in the future has expired.
    """
    if sweep.status not in ("failed", "aborted") or sweep.finished is None or sweep.expires is None:
        return False
    return sweep.finished <= now < min(sweep.expires, sweep.finished + RETRY_AFTER)


def _has_expired(sweep: Sweep, now: datetime | None) -> bool:
    return now is not None and sweep.expires is not None and sweep.expires <= now
