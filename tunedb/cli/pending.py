"""What a store says is worth tuning on the device that is here: its misses, and what answers only as stale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tunedb.cli.command import log
from tunedb.cli.tasks import Task, installed, make_tuner
from tunedb.core.device import Device, device_of
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES
from tunedb.errors import TunedbError
from tunedb.tuner.choice_cache import TuningTask

if TYPE_CHECKING:
    from tunedb.store import Store


def missed(store: Store, index: int) -> list[Task]:
    """The misses of the device that is here, the most frequent first."""
    device = device_of(index)
    counts: Counter[Problem] = Counter()
    for served in store.get_served(MISSES):
        if served.device == device:
            counts[served.problem] += served.count
    return tasks_for([problem for problem, _ in counts.most_common()], device)


def stale(store: Store, index: int, kernel: str | None) -> list[Task]:
    """The problems, of all kernels or of one, to which the store's answer is stale on the device that is here.

    A pinned answer is left out: it would win against what is tuned now.
    """
    device, tuner = device_of(index), make_tuner(store)
    stored = {sweep.problem: None for sweep in store.iter_sweeps(kernel=kernel) if sweep.device == device}
    found = []
    for task in tasks_for(stored, device):
        choice = tuner.look_up(TuningTask(task.kernel, task.problem, device, index))
        if choice is None or choice.sweep is None or choice.source != "stale":
            continue
        if choice.sweep.is_pinned:
            log.info("%s (%s) is stale and pinned: left as it is.", task.kernel.name, task.problem)
        else:
            found.append(task)
    return found


def incomplete(store: Store, index: int, kernel: str | None) -> list[Task]:
    """The problems, of all kernels or of one, whose last word on the device that is here is a sweep that was cut off.

    A sweep that is still running may be another process's: its problem is left out until it was aborted or finished.
    """
    device, tuner = device_of(index), make_tuner(store)
    cut_off = {
        sweep.problem: None
        for sweep in store.iter_sweeps(kernel=kernel)
        if sweep.device == device and (not sweep.complete or sweep.status == "aborted")
    }
    found = []
    for task in tasks_for(cut_off, device):
        choice = tuner.look_up(TuningTask(task.kernel, task.problem, device, index))
        if choice is None or choice.sweep is None or not choice.sweep.complete:
            found.append(task)
    return found


def tasks_for(problems: Iterable[Problem], device: Device) -> list[Task]:
    """A task for each problem that an installed kernel can make sense of; the others are named and left out."""
    problems = list(problems)
    kernels = installed(problem.kernel for problem in problems)
    found = []
    for problem in problems:
        kernel = kernels.get(problem.kernel)
        if kernel is None:
            log.info("%s (%s) is left out: no such kernel is installed.", problem.kernel, problem)
        elif not _makes_sense(kernel, problem, device):
            log.info("%s (%s) is left out: the installed kernel knows no such problem.", problem.kernel, problem)
        else:
            found.append(Task(kernel, problem, None))
    return found


def _makes_sense(kernel: RegisteredKernel, problem: Problem, device: Device) -> bool:
    try:
        return bool(kernel.space(problem, device))
    except (TunedbError, LookupError, TypeError, ValueError, ArithmeticError):  # of another version, with other facts
        return False
