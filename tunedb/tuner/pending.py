"""Tasks that are worth tuning or checking on the current device: misses, winners, sweeps that were cut short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunedb.core.device import Device, Placement, host
from tunedb.core.kernel import ODD_FACTS, HasOtherSizes, RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import Layer, Source, Sweep, SweepStatus, now
from tunedb.core.task import TuningTask
from tunedb.runtime.current_device import device_of
from tunedb.store.retention import ABANDONED
from tunedb.tuner.answered_misses import Installed, missed_counts
from tunedb.tuner.miss_cost import by_cost
from tunedb.tuner.problem_lock import lock_problem

if TYPE_CHECKING:
    from tunedb.store.stored import Stored
    from tunedb.tuner.tuner import Tuner


@dataclass(frozen=True, slots=True)
class Pending:
    """Tasks that are worth tuning, and a sentence about each problem that was left out.

    `unused` are tasks that were left out too: only bundles have their winners, and no call here was counted for them.
    """

    tasks: list[TuningTask]
    left_out: list[str]
    unused: list[TuningTask] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Winners:
    """Tasks with the sweep that answers each, and, like in `Pending`, what was left out."""

    pairs: list[tuple[TuningTask, Sweep]]
    left_out: list[str]
    unused: list[tuple[TuningTask, Sweep]]


def missed(stored: Stored, index: int, installed: Installed) -> Pending:
    """Return the tasks that calls on this device missed, the most costly first; not those that a bundle answers now."""
    if stored.whole is None:
        return Pending([], [])
    device = device_of(index)
    misses = [miss for miss in missed_counts(stored, installed) if miss.is_open and miss.usage.device == device]
    costs: defaultdict[Problem, float] = defaultdict(float)
    for one in by_cost(stored.whole, misses):
        costs[one.miss.usage.problem] += one.cost
    problems = sorted(costs, key=lambda problem: -costs[problem])
    return tasks_for(problems, index, installed, any_sizes=True)


def stored_winners(
    stored: Stored,
    tuner: Tuner,
    index: int,
    installed: Installed,
    kernel: str | None = None,
    *,
    unused: bool = False,
    only_stale: bool = False,
) -> Winners:
    """Return the winners on this device, of one kernel or of all, whichever layer has them; all or only stale ones.

    Problems that only bundles have and no call here was counted for are left out, unless `unused`: a package may bring
    hundreds, and so does tunedb.
    """
    device = device_of(index)
    wanted = {sweep.problem: None for sweep in stored.iter_sweeps(kernel=kernel) if _is_own(sweep, device)}
    taken, others = _bundled(stored, device, kernel, unused=unused)
    wanted |= {sweep.problem: None for sweep in taken}
    left = {sweep.problem: None for sweep in others if sweep.problem not in wanted}

    def answers(tasks: Iterable[TuningTask]) -> list[tuple[TuningTask, Sweep]]:
        choices = ((task, tuner.look_up(task)) for task in tasks)
        return [
            (task, choice.sweep)
            for task, choice in choices
            if choice is not None and choice.sweep is not None and (not only_stale or choice.source == Source.STALE)
        ]

    pending = tasks_for(wanted, index, installed)
    return Winners(answers(pending.tasks), pending.left_out, answers(tasks_for(left, index, installed).tasks))


def _bundled(stored: Stored, device: Device, kernel: str | None, *, unused: bool) -> tuple[list[Sweep], list[Sweep]]:
    """Return the sweeps on a device that only bundles have, tunedb's own included: those to take, and the others.

    To take are those of problems that calls here got stored sweeps for, and with `unused` all.
    """
    called = set()
    if stored.whole is not None:
        served = stored.whole.usage.served((Source.STORE, Source.STALE))
        called = {one.usage.problem for one in served if one.usage.device == device}
    bundled = stored.bundled(kernel=kernel, device_name=device.name, shipped=True)
    sweeps = [sweep for sweep in bundled if sweep.device == device]
    return (
        [sweep for sweep in sweeps if unused or sweep.problem in called],
        [sweep for sweep in sweeps if not unused and sweep.problem not in called],
    )


def stale(
    stored: Stored,
    tuner: Tuner,
    index: int,
    installed: Installed,
    kernel: str | None = None,
    *,
    unused: bool = False,
) -> Pending:
    """Return the tasks whose winner is stale on this device, as `stored_winners` does.

    A pinned winner is left out: it would beat whatever is tuned now.
    """
    found = stored_winners(stored, tuner, index, installed, kernel, unused=unused, only_stale=True)
    pinned = [
        f"{task.kernel.name} ({task.problem}) is stale and pinned: left as it is."
        for task, sweep in found.pairs
        if sweep.is_pinned
    ]
    return Pending(_not_pinned(found.pairs), [*found.left_out, *pinned], _not_pinned(found.unused))


def _not_pinned(pairs: Iterable[tuple[TuningTask, Sweep]]) -> list[TuningTask]:
    return [task for task, sweep in pairs if not sweep.is_pinned]


def _is_own(sweep: Sweep, device: Device) -> bool:
    """Say whether it is a sweep of that device, and not one of a bundle."""
    return sweep.device == device and sweep.layer is not Layer.BUNDLE


def incomplete(
    stored: Stored,
    tuner: Tuner,
    index: int,
    installed: Installed,
    kernel: str | None = None,
    *,
    unused: bool = False,
) -> Pending:
    """Return the tasks, of one kernel or of all, whose best sweep on this device was cut short or interrupted.

    A sweep that is still running in another process does not count. A bundle's counts if it answers calls, and either
    a call here got it, or those that are `unused` are wanted too.
    """
    device = device_of(index)
    cut_short: dict[Problem, None] = {}
    left_out = []
    for sweep in stored.iter_sweeps(kernel=kernel, finished=False):
        if not _is_own(sweep, device) or sweep.problem in cut_short:
            continue
        if sweep.status == SweepStatus.RUNNING:
            reason = _why_running(sweep, tuner)
            if reason is not None:
                left_out.append(f"{sweep.problem.kernel} ({sweep.problem}) is left out: {reason}.")
                continue
        if not sweep.complete or sweep.status in (SweepStatus.RUNNING, SweepStatus.ABORTED):
            cut_short[sweep.problem] = None
    taken, others = _bundled(stored, device, kernel, unused=unused)
    wanted = cut_short | {sweep.problem: None for sweep in taken if not sweep.complete}
    left = {sweep.problem: None for sweep in others if not sweep.complete and sweep.problem not in wanted}

    def is_incomplete(task: TuningTask) -> bool:
        choice = tuner.look_up(task)
        return task.problem in cut_short if choice is None or choice.sweep is None else not choice.sweep.complete

    pending, unused_tasks = tasks_for(wanted, index, installed), tasks_for(left, index, installed).tasks
    return Pending(
        list(filter(is_incomplete, pending.tasks)),
        [*left_out, *pending.left_out],
        list(filter(is_incomplete, unused_tasks)),
    )


def _why_running(sweep: Sweep, tuner: Tuner) -> str | None:
    """Return why a sweep that is stored as running may still run; None if its process is gone."""
    if sweep.host != host():
        if now() - sweep.started < ABANDONED:
            return f"it may still be running on {sweep.host}"
        return None
    with lock_problem(tuner.locks, sweep.problem, sweep.device, 0.0) as lock:
        return None if lock.held else "another process is tuning it"


def tasks_for(problems: Iterable[Problem], index: int, installed: Installed, *, any_sizes: bool = False) -> Pending:
    """Return a task for each problem that an installed kernel accepts.

    A problem may not say with which sizes it was tuned. It is left out, as times of other sizes say nothing about it,
    unless any sizes will do: those of calls that were missed are not known, and the kernel's defaults are taken.
    """
    problems = list(problems)
    device, kernels = device_of(index), installed(problem.kernel for problem in problems)
    tasks, left_out = [], []
    for problem in problems:
        kernel = kernels.get(problem.kernel)
        if kernel is None:
            left_out.append(f"{problem.kernel} ({problem}) is left out: no such kernel is installed.")
        elif not accepts(kernel, problem, device):
            left_out.append(
                f"{problem.kernel} ({problem}) is left out: the installed kernel does not know this problem."
            )
        elif not any_sizes and (sizes := _other_sizes(kernel, problem)):
            left_out.append(
                f"{problem.kernel} ({problem}) is left out: with which {', '.join(sizes)} it was tuned is not stored. "
                f"Tune it with these: tunedb warm {problem.kernel} --force --arg {sizes[0]}=..."
            )
        else:
            tasks.append(TuningTask(kernel, problem, Placement(device, index)))
    return Pending(tasks, left_out)


def _other_sizes(kernel: RegisteredKernel, problem: Problem) -> Sequence[str]:
    return kernel.other_sizes(problem) if isinstance(kernel, HasOtherSizes) else ()


def accepts(kernel: RegisteredKernel, problem: Problem, device: Device) -> bool:
    """Say whether the kernel knows the facts of a stored problem, and has configs for it."""
    try:
        return bool(kernel.space(problem, device))
    except ODD_FACTS:
        return False
