"""Tasks that are worth tuning on the current device: misses, stale winners, sweeps that were cut short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunedb.core.device import Device, Placement, host
from tunedb.core.kernel import HasOtherSizes, RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, Sweep, SweepStatus, now
from tunedb.core.task import TuningTask
from tunedb.errors import TunedbError
from tunedb.runtime.current_device import device_of
from tunedb.store.retention import ABANDONED
from tunedb.tuner.miss_cost import by_cost
from tunedb.tuner.problem_lock import lock_problem

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

Installed = Callable[[Iterable[str]], Mapping[str, RegisteredKernel]]  # the kernels of these names that can be loaded

# What a kernel's code raises for facts that another version of it stored, or that someone wrote into the store.
ODD_FACTS = (TunedbError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


@dataclass(frozen=True, slots=True)
class Pending:
    """Tasks that are worth tuning, and a sentence about each problem that was left out."""

    tasks: list[TuningTask]
    left_out: list[str]


def missed(store: Store, index: int, installed: Installed) -> Pending:
    """Return the tasks that calls on this device missed, the most costly first."""
    device = device_of(index)
    misses = [miss for miss in store.usage.served(MISSES) if miss.is_open and miss.usage.device == device]
    costs: defaultdict[Problem, float] = defaultdict(float)
    for one in by_cost(store, misses):
        costs[one.miss.usage.problem] += one.cost
    problems = sorted(costs, key=lambda problem: -costs[problem])
    return tasks_for(problems, index, installed, any_sizes=True)


def stale(store: Store, tuner: Tuner, index: int, installed: Installed, kernel: str | None = None) -> Pending:
    """Return the tasks, of one kernel or of all, whose stored winner is stale on this device.

    A pinned winner is left out: it would beat whatever is tuned now.
    """
    device = device_of(index)
    stored = {sweep.problem: None for sweep in store.iter_sweeps(kernel=kernel) if sweep.device == device}
    pending = tasks_for(stored, index, installed)
    tasks, left_out = [], list(pending.left_out)
    for task in pending.tasks:
        choice = tuner.look_up(task)
        if choice is None or choice.sweep is None or choice.source != "stale":
            continue
        if choice.sweep.is_pinned:
            left_out.append(f"{task.kernel.name} ({task.problem}) is stale and pinned: left as it is.")
        else:
            tasks.append(task)
    return Pending(tasks, left_out)


def incomplete(store: Store, tuner: Tuner, index: int, installed: Installed, kernel: str | None = None) -> Pending:
    """Return the tasks, of one kernel or of all, whose best sweep on this device was cut short or interrupted.

    A sweep that is still running in another process does not count.
    """
    device = device_of(index)
    cut_short: dict[Problem, None] = {}
    left_out = []
    for sweep in store.iter_sweeps(kernel=kernel, finished=False):
        if sweep.device != device or sweep.problem in cut_short:
            continue
        if sweep.status == SweepStatus.RUNNING:
            reason = _why_running(sweep, tuner)
            if reason is not None:
                left_out.append(f"{sweep.problem.kernel} ({sweep.problem}) is left out: {reason}.")
                continue
        if not sweep.complete or sweep.status in (SweepStatus.RUNNING, SweepStatus.ABORTED):
            cut_short[sweep.problem] = None
    pending = tasks_for(cut_short, index, installed)
    tasks = []
    for task in pending.tasks:
        choice = tuner.look_up(task)
        if choice is None or choice.sweep is None or not choice.sweep.complete:
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
