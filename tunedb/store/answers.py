"""What a store answers for each problem on each device, judged by its sweeps alone.

The same sweeps give the same answers on every machine: what is installed here plays no part. For reports and for
comparisons; a call is answered by `ranking` with the kernel and the environment of its own process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Problem
from tunedb.core.sweep import FINISHED, Sweep, SweepStatus
from tunedb.store.ranking import ended, winner

PairKey = tuple[str, str, str]  # kernel, problem's key, device's digest


class AnswerState(StrEnum):
    """The state of a problem on a device."""

    TUNED = "tuned"  # a sweep of the newest environment answers
    STALE = "stale"  # a sweep of an older environment answers
    OBSOLETE = "obsolete"  # every sweep is of an older source of the kernel
    QUARANTINED = "quarantined"  # every sweep with a winner is quarantined
    FAILED = "failed"  # no sweep has a winner
    MISSED = "missed"  # calls asked for it, and there is no sweep


@dataclass(frozen=True, slots=True)
class Answer:
    """A problem on a device: its state, the sweep that answers, and all finished sweeps."""

    problem: Problem
    device: Device
    state: AnswerState
    sweep: Sweep | None  # None unless `tuned` or `stale`
    sweeps: Sequence[Sweep] = ()  # also those of other hashes and environments, the newest last

    @property
    def key(self) -> PairKey:
        """The problem and the device."""
        return key_of(self.problem, self.device)


def key_of(problem: Problem, device: Device) -> PairKey:
    """Return the key of a problem on a device."""
    return problem.kernel, problem.key, device.digest


def answers(sweeps: Iterable[Sweep]) -> list[Answer]:
    """Return the answer of each problem on each device that a sweep is about, in the order of their keys.

    The newest source of a kernel is that of its newest sweep with a winner, on any device; the newest environment of a
    kernel on a device likewise.
    """
    finished = sorted((one for one in sweeps if one.status in FINISHED), key=_age)
    hashes = newest_hashes(finished)
    environments = newest_environments(finished)
    groups: dict[PairKey, list[Sweep]] = defaultdict(list)
    for sweep in finished:
        groups[key_of(sweep.problem, sweep.device)].append(sweep)
    return [_answer(groups[key], hashes, environments) for key in sorted(groups)]


def newest_hashes(sweeps: Iterable[Sweep]) -> dict[str, str]:
    """Return the hash of each kernel's newest source; of finished sweeps, the newest last."""
    return {one.problem.kernel: one.kernel_hash for one in sweeps if one.status == SweepStatus.TUNED}


def newest_environments(sweeps: Iterable[Sweep]) -> dict[tuple[str, str], Environment]:
    """Return the newest environment of each kernel on each device; of finished sweeps, the newest last."""
    return {
        (one.problem.kernel, one.device.digest): one.environment for one in sweeps if one.status == SweepStatus.TUNED
    }


def _answer(
    sweeps: Sequence[Sweep], hashes: Mapping[str, str], environments: Mapping[tuple[str, str], Environment]
) -> Answer:
    problem, device = sweeps[-1].problem, sweeps[-1].device
    current = [one for one in sweeps if one.kernel_hash == hashes.get(problem.kernel, one.kernel_hash)]
    environment = environments.get((problem.kernel, device.digest))
    best = winner(current, environment)
    if best is not None:
        state = AnswerState.TUNED if best[0].is_valid_in(environment) else AnswerState.STALE
        return Answer(problem, device, state, best[0], sweeps)
    if any(one.status == SweepStatus.TUNED for one in current):
        state = AnswerState.QUARANTINED
    else:
        state = AnswerState.FAILED if current else AnswerState.OBSOLETE
    return Answer(problem, device, state, None, sweeps)


def _age(sweep: Sweep) -> tuple[object, ...]:
    return ended(sweep, None), sweep.uid
