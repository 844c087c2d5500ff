"""Why a stored sweep answers a call or does not: the ranking's decisions, in words and as fields that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunedb.cli.opening import sweep_row
from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.store import obstacle, ranked, strength, winners
from tunedb.tuner.choice_cache import TuningTask
from tunedb.tuner.distance import distance, nearest

Differences = dict[str, dict[str, Any]]  # by field: what was found, and what is needed
_WINS = {"valid": "valid", "complete": "complete", "finished": "newest", "uid": "greater uid"}
_LOSES = {"pinned": "not pinned", "finished": "older", "uid": "smaller uid"}  # `traits` says it of the other two
_NEAR = 5  # entries of other problems that are shown
_HASH = 12  # digits of a kernel's hash that are shown


@dataclass(frozen=True)
class Verdict:
    """What becomes of a stored sweep: `chosen`, `in reserve`, `passed over`; of another problem's `nearest`, `near`."""

    sweep: Sweep
    verdict: str
    source: str | None = None  # of the choice that it gives, or would give
    reasons: tuple[str, ...] = ()
    differs: Differences = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """As `tunedb explain` prints it."""
        why = [
            *self.reasons,
            *(f"{name} is {one['found']}, needed {one['needed']}" for name, one in self.differs.items()),
        ]
        own = {"verdict": self.verdict, "source": self.source, "why": "; ".join(why), "differs": self.differs}
        return sweep_row(self.sweep) | own


def of_same_problem(
    sweeps: Iterable[Sweep], case: TuningTask, environment: Environment | None, now: datetime
) -> list[Verdict]:
    """What becomes of each sweep of the case's problem, on whatever device and kernel: the chosen one comes first."""
    sweeps = list(sweeps)
    space = set(case.kernel.space(case.problem, case.device))
    fitting = [sweep for sweep in sweeps if not _hard_differences(sweep, case)]
    best_first = ranked(fitting, environment, space.__contains__, now)
    found = []
    for place, (sweep, source) in enumerate(best_first):
        rival = best_first[1 if place == 0 else 0][0] if len(best_first) > 1 else None
        reasons = (*_traits(sweep), *_against(sweep, rival, environment))
        differs = {} if source == "store" or environment is None else _soft_differences(sweep, environment)
        stale = ("stale",) if source == "stale" else ()
        found.append(Verdict(sweep, "in reserve" if place else "chosen", source, (*stale, *reasons), differs))
    answering = {verdict.sweep.uid for verdict in found}
    others = [_passed_over(sweep, case, space, now) for sweep in sweeps if sweep.uid not in answering]
    others.sort(
        key=lambda verdict: (not verdict.differs, verdict.sweep.finished or now, verdict.sweep.uid), reverse=True
    )
    return found + others


def of_other_problems(
    sweeps: Iterable[Sweep], case: TuningTask, environment: Environment | None, now: datetime
) -> list[Verdict]:
    """The tuned sweeps of the kernel that come nearest to the case, and in what they differ.

    `nearest` is the one whose config a call gets where it may not tune.
    """
    tuned = [sweep for sweep in sweeps if sweep.config is not None and sweep.problem != case.problem]
    fitting = [sweep for sweep in tuned if not _hard_differences(sweep, case)]
    space = set(case.kernel.space(case.problem, case.device))
    able = [sweep for sweep, _ in winners(fitting, environment, now)]
    lent = nearest(case.problem, able, case.kernel.is_alike, space.__contains__)

    def farness(sweep: Sweep) -> tuple[bool, int, bool, float, str]:
        far, facts = distance(case.problem, sweep.problem), _problem_differences(sweep, case)
        is_lent = lent is not None and sweep.uid == lent[0].uid
        return not is_lent, len(_hard_differences(sweep, case)), far is None, far or len(facts), sweep.uid

    return [
        Verdict(
            sweep,
            "nearest" if lent is not None and sweep.uid == lent[0].uid else "near",
            differs=_problem_differences(sweep, case) | _hard_differences(sweep, case),
        )
        for sweep in sorted(tuned, key=farness)[:_NEAR]
    ]


def _passed_over(sweep: Sweep, case: TuningTask, space: set[Config], now: datetime) -> Verdict:
    differs = _hard_differences(sweep, case)
    stopped = obstacle(sweep, space.__contains__, now)
    reasons = _traits(sweep)
    if stopped in ("failed", "aborted"):
        counts = ", ".join(f"{count} {status}" for status, count in sweep.counts.items())
        reasons = (f"{stopped}{f': {counts}' if counts else ''}", *reasons)
    elif stopped == "quarantined":
        reasons = (f"quarantined: {_reason(sweep, 'quarantine')}", *reasons)
    elif stopped == "outside the space":
        reasons = ("its config is outside today's search space", *reasons)
    elif stopped is not None:
        reasons = (stopped, *reasons)
    return Verdict(sweep, "passed over", None, reasons, differs)


def _traits(sweep: Sweep) -> tuple[str, ...]:
    pinned = (f"pinned: {_reason(sweep, 'pin')}",) if sweep.is_pinned else ()
    return pinned if sweep.complete or sweep.status != "tuned" else (*pinned, "cut short")


def _against(sweep: Sweep, rival: Sweep | None, environment: Environment | None) -> tuple[str, ...]:
    """What decided between the two: the first component of their strengths in which they differ."""
    if rival is None:
        return ("the only one",)
    ours, theirs = strength(sweep, environment), strength(rival, environment)
    name = next(name for name in ours._fields if getattr(ours, name) != getattr(theirs, name))
    words = (_WINS if ours > theirs else _LOSES).get(name)
    return (words,) if words else ()


def _reason(sweep: Sweep, kind: str) -> str:
    return max((mark.time, mark.uid, mark.reason) for mark in sweep.marks if mark.kind == kind)[2]


def _hard_differences(sweep: Sweep, case: TuningTask) -> Differences:
    found = {"device": str(sweep.device), "kernel_hash": sweep.kernel_hash[:_HASH]}
    needed = {"device": str(case.device), "kernel_hash": case.kernel.hash[:_HASH]}
    return differences(found, needed)


def _soft_differences(sweep: Sweep, environment: Environment) -> Differences:
    names = environment.__slots__
    return differences(
        {name: getattr(sweep.environment, name) for name in names}, {name: getattr(environment, name) for name in names}
    )


def _problem_differences(sweep: Sweep, case: TuningTask) -> Differences:
    return differences(sweep.problem.plain(), case.problem.plain())


def differences(found: Mapping[str, Any], needed: Mapping[str, Any]) -> Differences:
    """The fields that are not equal, or that only one has."""
    return {
        name: {"found": found.get(name), "needed": needed.get(name)}
        for name in sorted({*found, *needed})
        if (type(found.get(name)), found.get(name)) != (type(needed.get(name)), needed.get(name))
    }
