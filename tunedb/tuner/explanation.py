"""Explanations of why a stored sweep answers a call or not: the ranking's decisions, and the fields that differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunedb.core.device import Environment, host
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.store import has_failed, obstacle, ranked, strength, winners
from tunedb.tuner.nearest import distance, nearest

Differences = dict[str, dict[str, Any]]  # by field: what the sweep has (`found`), and what the call has (`needed`)
_WINS = {
    "valid": "valid",
    "complete": "complete",
    "measured": "not of a bundle",
    "finished": "newest",
    "uid": "greater uid",
}
# `_traits` says it of the other two.
_LOSES = {"pinned": "not pinned", "measured": "of a bundle", "finished": "older", "uid": "smaller uid"}
MAX_NEAR = 5  # sweeps of other problems that are explained
HASH_DIGITS = 12  # of a kernel's hash that are shown


@dataclass(frozen=True)
class Explanation:
    """The verdict on a stored sweep: `chosen`, `in reserve`, `passed over`; of another problem: `nearest`, `near`."""

    sweep: Sweep
    verdict: str
    source: str | None = None  # of the choice that it gives, or would give
    reasons: tuple[str, ...] = ()
    differs: Differences = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the fields that `tunedb explain` prints with the sweep."""
        unequal = (f"{name}: expected {pair['needed']}, got {pair['found']}" for name, pair in self.differs.items())
        why = "; ".join([*self.reasons, *unequal])
        return {"verdict": self.verdict, "source": self.source, "why": why, "differs": self.differs}


def explain_problem(
    sweeps: Iterable[Sweep],
    task: TuningTask,
    environment: Environment | None,
    now: datetime,
    wrong: Collection[Config] = (),
) -> list[Explanation]:
    """Explain each sweep of the task's problem, on any device and of any kernel hash; the chosen one comes first."""
    sweeps = list(sweeps)
    space = set(task.kernel.space(task.problem, task.device))
    fitting = [sweep for sweep in sweeps if not _hard_differences(sweep, task)]
    best_first = ranked(fitting, environment, space.__contains__, now, wrong)
    explanations = []
    for place, (sweep, source) in enumerate(best_first):
        rival = best_first[1 if place == 0 else 0][0] if len(best_first) > 1 else None
        is_confirmed = source == "store" and environment is not None and sweep.environment != environment
        confirmed = ("confirmed in this environment",) if is_confirmed else ()
        reasons = (*confirmed, *_traits(sweep), *_against(sweep, rival, environment, now))
        differs = {} if source == "store" or environment is None else _soft_differences(sweep, environment)
        stale = ("stale",) if source == "stale" else ()
        explanations.append(
            Explanation(sweep, "in reserve" if place else "chosen", source, (*stale, *reasons), differs)
        )
    able = {explanation.sweep.uid for explanation in explanations}
    others = [_passed_over(sweep, task, space, now, wrong) for sweep in sweeps if sweep.uid not in able]
    others.sort(key=lambda other: (not other.differs, other.sweep.finished or now, other.sweep.uid), reverse=True)
    return explanations + others


def explain_near_problems(
    sweeps: Iterable[Sweep], task: TuningTask, environment: Environment | None, now: datetime
) -> list[Explanation]:
    """Explain the tuned sweeps of the kernel whose problems are closest to the task's.

    `nearest` is the sweep whose config a call gets if it may not tune.
    """
    tuned = [sweep for sweep in sweeps if sweep.config is not None and sweep.problem != task.problem]
    fitting = [sweep for sweep in tuned if not _hard_differences(sweep, task)]
    space = set(task.kernel.space(task.problem, task.device))
    able = [sweep for sweep, _ in winners(fitting, environment, now)]
    closest = nearest(task.problem, able, task.kernel.is_alike, space.__contains__)

    def is_nearest(sweep: Sweep) -> bool:
        return closest is not None and sweep.uid == closest[0].uid

    def remoteness(sweep: Sweep) -> tuple[bool, int, bool, float, str]:
        far, facts = distance(task.problem, sweep.problem), _problem_differences(sweep, task)
        return not is_nearest(sweep), len(_hard_differences(sweep, task)), far is None, far or len(facts), sweep.uid

    return [
        Explanation(
            sweep,
            "nearest" if is_nearest(sweep) else "near",
            differs=_problem_differences(sweep, task) | _hard_differences(sweep, task),
        )
        for sweep in sorted(tuned, key=remoteness)[:MAX_NEAR]
    ]


def _passed_over(
    sweep: Sweep, task: TuningTask, space: set[Config], now: datetime, wrong: Collection[Config]
) -> Explanation:
    differs = _hard_differences(sweep, task)
    why_not = obstacle(sweep, space.__contains__, now, wrong)
    reasons = _traits(sweep)
    if why_not in ("failed", "aborted"):
        counts = ", ".join(f"{count} {status}" for status, count in sweep.counts.items())
        here = ("no call on this machine tunes it again before it expires",)
        blocks = here if has_failed([sweep], None, now, host()) else ()
        reasons = (f"{why_not}{f': {counts}' if counts else ''}", *blocks, *reasons)
    elif why_not == "quarantined":
        reasons = (f"quarantined: {_reason(sweep, 'quarantine')}", *reasons)
    elif why_not == "outside the space":
        reasons = ("its config is outside today's search space", *reasons)
    elif why_not is not None:
        reasons = (why_not, *reasons)
    return Explanation(sweep, "passed over", None, reasons, differs)


def _traits(sweep: Sweep) -> tuple[str, ...]:
    pinned = (f"pinned: {_reason(sweep, 'pin')}",) if sweep.is_pinned else ()
    return pinned if sweep.complete or sweep.status != "tuned" else (*pinned, "cut short")


def _against(sweep: Sweep, rival: Sweep | None, environment: Environment | None, now: datetime) -> tuple[str, ...]:
    """Say what decided between the two: the first component of their strengths that differs."""
    if rival is None:
        return ("the only one",)
    ours, theirs = strength(sweep, environment, now), strength(rival, environment, now)
    name = next(name for name in ours._fields if getattr(ours, name) != getattr(theirs, name))
    words = (_WINS if ours > theirs else _LOSES).get(name)
    return (words,) if words else ()


def _reason(sweep: Sweep, kind: str) -> str:
    return max((mark.time, mark.uid, mark.reason) for mark in sweep.marks if mark.kind == kind)[2]


def _hard_differences(sweep: Sweep, task: TuningTask) -> Differences:
    found = {"device": str(sweep.device), "kernel_hash": sweep.kernel_hash[:HASH_DIGITS]}
    needed = {"device": str(task.device), "kernel_hash": task.kernel.hash[:HASH_DIGITS]}
    return differences(found, needed)


def _soft_differences(sweep: Sweep, environment: Environment) -> Differences:
    names = environment.__slots__
    return differences(
        {name: getattr(sweep.environment, name) for name in names}, {name: getattr(environment, name) for name in names}
    )


def _problem_differences(sweep: Sweep, task: TuningTask) -> Differences:
    return differences(sweep.problem.plain(), task.problem.plain())


def differences(found: Mapping[str, Any], needed: Mapping[str, Any]) -> Differences:
    """Return the fields that are not equal, or that only one of the two has."""
    return {
        name: {"found": found.get(name), "needed": needed.get(name)}
        for name in sorted({*found, *needed})
        if (type(found.get(name)), found.get(name)) != (type(needed.get(name)), needed.get(name))
    }
