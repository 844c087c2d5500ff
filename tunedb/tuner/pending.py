"""Tasks that are worth tuning on the current device: misses, stale winners, sweeps that were cut short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

    `unused` counts the problems of bundles that were left out because no call here was counted for them.
    """

    tasks: list[TuningTask]
    left_out: list[str]
    unused: int = 0


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


def bundled_sweeps(stored: Stored, device: Device, kernel: str | None = None, *, unused: bool = False) -> list[Sweep]:
    """Return the sweeps that only bundles have of the problems on a device that calls here got stored sweeps for.

    With `unused`, also those that no call was counted for, unless only tunedb's own bundle has them.
    """
    used = set()
    if stored.whole is not None:
        served = stored.whole.usage.served((Source.STORE, Source.STALE))
        used = {one.usage.problem for one in served if one.usage.device == device}
    every = stored.bundled(kernel=kernel, device_name=device.name, shipped=True)
    sweeps = [sweep for sweep in every if sweep.problem in used]
    if unused:
        sweeps += stored.bundled(kernel=kernel, device_name=device.name)
    return [sweep for sweep in sweeps if sweep.device == device]


def stale(
    stored: Stored,
    tuner: Tuner,
    index: int,
    installed: Installed,
    kernel: str | None = None,
    *,
    unused: bool = False,
) -> Pending:
    """Return the tasks, of one kernel or of all, whose stored winner is stale on this device, whichever layer has it.

    A pinned winner is left out: it would beat whatever is tuned now. So are problems that only bundles have and no call
    here was counted for, unless `unused`: a package may bring hundreds.
    """
    device = device_of(index)
    problems = {sweep.problem: None for sweep in stored.iter_sweeps(kernel=kernel) if _is_own(sweep, device)}
    problems |= {sweep.problem: None for sweep in bundled_sweeps(stored, device, kernel, unused=unused)}
    pending = tasks_for(problems, index, installed)
    tasks, left_out = [], list(pending.left_out)
    for task in pending.tasks:
        choice = tuner.look_up(task)
        if choice is None or choice.sweep is None or choice.source != "stale":
            continue
        if choice.sweep.is_pinned:
            left_out.append(f"{task.kernel.name} ({task.problem}) is stale and pinned: left as it is.")
        else:
            tasks.append(task)
    others = {sweep.problem: None for sweep in bundled_sweeps(stored, device, kernel, unused=True)}
    answers = map(tuner.look_up, tasks_for(others.keys() - problems.keys(), index, installed).tasks)
    return Pending(tasks, left_out, sum(answer is not None and answer.source == "stale" for answer in answers))


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

    A sweep that is still running in another process does not count. A bundle's counts if it answers, and a call here
    got it or it may be `unused`.
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
    bundled = bundled_sweeps(stored, device, kernel, unused=unused)
    of_bundles = {sweep.problem: None for sweep in bundled if not sweep.complete}
    pending = tasks_for(cut_short | of_bundles, index, installed)
    tasks = []
    for task in pending.tasks:
        choice = tuner.look_up(task)
        if task.problem in cut_short if choice is None or choice.sweep is None else not choice.sweep.complete:
            tasks.append(task)
    return Pending(tasks, [*left_out, *pending.left_out])


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
