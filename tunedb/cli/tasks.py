"""Tuning tasks of `warm` and `demo`: made from arguments, and printed as rows; the tuner of commands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunedb import registry, settings
from tunedb.cli.command import log
from tunedb.core.device import Placement
from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.tuner.lock_folder import lock_folder

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

SLOW_MILLIONS = 67  # of elements: with more, the interpreter takes minutes a sweep


def tasks_of(
    kernel: str, arguments: Mapping[str, Any], placement: Placement, *, forward_only: bool
) -> list[TuningTask]:
    """Return the task for these arguments at that placement, and that of the kernel's declared gradient.

    Raises SettingError for an unknown kernel, and for arguments that do not make a problem.
    """
    kernels = [registry.kernel_named(kernel)]
    gradient = registry.gradient_of(kernels[0])
    if gradient is not None and not forward_only:
        kernels.append(registry.kernel_named(gradient))
    return [TuningTask(member, member.problem(arguments), placement, arguments) for member in kernels]


def make_tuner(store: Store | None, *, shares: bool = False) -> Tuner:
    """Return a tuner that works on the store itself, so that a failure of the store ends the command, and on bundles.

    One that `shares` claims problems in the shared store, finds there what others tuned, and publishes its sweeps.
    """
    from tunedb.tuner.session import with_bundles, with_shared
    from tunedb.tuner.tuner import Tuner

    current = settings.current()
    layers = with_shared(store, current) if shares else with_bundles(store, current)
    return Tuner(current, layers, locks=lock_folder(current))


def task_row(task: TuningTask, source: str, sweep: Sweep | None) -> dict[str, Any]:
    """Return a task as `tunedb warm` prints it: how it ended, and the sweep behind that."""
    config = None if sweep is None or sweep.config is None else sweep.config.plain()
    return {
        "uid": sweep and sweep.uid,
        "kernel": task.kernel.name,
        "problem": task.problem.plain(),
        "device": task.device.name,
        "config": config,
        "time_us": sweep and sweep.time_us,
        "default_time_us": sweep and sweep.default_time_us,
        "speedup": sweep and sweep.speedup,
        "source": source,
    }


def warn_about_interpreter(tasks: Sequence[TuningTask]) -> None:
    """Say what sweeps in Triton's interpreter are good for, if these tasks run there."""
    if not tasks or tasks[0].index is None or tasks[0].index >= 0:
        return
    log.warning("No GPU is used: this is Triton's interpreter, on the CPU. Its times mean nothing for a GPU.")
    millions = max(map(_elements, tasks)) // 10**6
    if millions > SLOW_MILLIONS:
        log.warning("A problem of %d million elements takes the interpreter minutes, and much memory.", millions)


def _elements(task: TuningTask) -> int:
    """Return the elements of the largest tensor whose shape is an argument of the task; 1 if none is."""
    arguments = task.arguments or {}
    names = [argument.name for argument in registry.arguments_of(task.kernel) if argument.type == "shape"]
    return max((math.prod(arguments[name]) for name in names if name in arguments), default=1)
