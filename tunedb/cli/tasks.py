"""What `warm`, `lookup` and `demo` share, and what loads torch: kernels, the device that is here, and tuning."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tunedb import settings
from tunedb.cli.command import log, uninterrupted
from tunedb.cli.opening import devices_named, listed
from tunedb.cli.progress import Progress
from tunedb.core.device import Device, Environment, Placement
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError
from tunedb.runtime.current_device import device_of, environment
from tunedb.sweep.observer import suspect_of

if TYPE_CHECKING:
    from tunedb.core.kernel import RegisteredKernel, TunableKernel
    from tunedb.store import Store
    from tunedb.tuner.tuner import Tuner

_MANY = 2**26  # elements from which on the interpreter takes minutes


@dataclass(frozen=True)
class Task:
    """A problem to tune."""

    kernel: TunableKernel
    problem: Problem
    elements: int | None  # of its input, where that is known
    arguments: Mapping[str, Any] | None = None  # that it was made of; more than the problem tells, for some kernels


def index_here() -> int:
    """The index of the GPU that is here; -1, which stands for Triton's interpreter, where none is."""
    with uninterrupted():  # torch swallows an interrupt that comes while it is imported
        import torch

    return torch.cuda.current_device() if torch.cuda.is_available() and not settings.is_interpreted() else -1


def device_here() -> Device:
    """The device of `index_here`."""
    return device_of(index_here())


def index_to_run_on() -> int:
    """`index_here`, where Triton has been asked for its interpreter if it is to run.

    To be called before triton is loaded, which reads that wish once. torch loads no triton by itself.
    """
    index = index_here()
    if index < 0:
        settings.ask_for_interpreter()
        _check_interpreter()
    return index


def _check_interpreter() -> None:
    """Raise SettingError for the one known pair of versions with which Triton's interpreter fails on every kernel."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        triton, numpy = metadata.version("triton"), metadata.version("numpy")
        if triton.startswith("3.6.") and not numpy.startswith(("2.0.", "2.1.", "2.2.", "2.3.", "1.")):
            raise SettingError(
                f"Triton {triton}'s interpreter does not run with NumPy {numpy}. Run: pip install 'numpy<2.4'"
            )


def find_device(stored: Iterable[Device], name: str | None) -> tuple[Device | None, int | None]:
    """The device that is asked about, with its index where it is here: the one that is here if no name is given.

    None where no stored device has that name. Raises SettingError where several have.
    """
    here = index_here()
    if name is None:
        return device_of(here), here
    found = devices_named(stored, name)
    if len(found) > 1:
        raise SettingError(f"--device: {name!r} fits {listed(found)}. Give one as it stands here.")
    device = found[0] if found else None
    return device, here if device == device_of(here) else None


def asked(
    store: Store | None, kernel: str, arguments: Mapping[str, Any], device: str | None
) -> tuple[Task, TuningTask | None]:
    """The problem that is asked about, and the case on a device: None where no stored device has that name.

    A kernel that is not installed is known by what is stored of it.

    Raises SettingError where several have, and what `tasks_of` raises.
    """
    from tunedb.api import kernel_names
    from tunedb.tuner.stored_kernel import stored_kernel

    known = None if kernel in kernel_names() else stored_kernel(store, kernel)
    if known is None:
        [task] = tasks_of(kernel, arguments, forward_only=True)
    else:
        task = Task(known, known.problem(arguments), None, arguments)
    stored = () if device is None or store is None else {sweep.device for sweep in store.iter_sweeps(kernel=kernel)}
    found, index = find_device(stored, device)
    return task, None if found is None else TuningTask(task.kernel, task.problem, Placement(found, index))


def environment_of(index: int | None, kernel: TunableKernel | None = None) -> Environment | None:
    """The environment that calls on the device of that index are served in; None for a device that is not here."""
    from tunedb.runtime.clock import method_for, own_clock

    if index is None:
        return None
    own = None if kernel is None else own_clock(kernel)
    return environment(device_of(index).backend, method_for(index) if own is None else own.method)


def installed(names: Iterable[str]) -> dict[str, RegisteredKernel]:
    """Those of the named kernels that are installed and can be loaded."""
    from tunedb.api import kernel_named, kernel_names

    found = {}
    for name in sorted(set(names) & set(kernel_names())):
        try:
            found[name] = kernel_named(name)
        except (ImportError, SettingError) as error:
            log.warning("Kernel %s is installed, and of no use: %s", name, error)
    return found


def tasks_of(kernel: str, arguments: Mapping[str, Any], *, forward_only: bool) -> list[Task]:
    """The problem for this kernel, and for the kernel of its gradient, `<kernel>_backward`, where there is one.

    Raises SettingError for an unknown kernel, and for arguments that make no problem.
    """
    from tunedb.api import kernel_named, kernel_names

    names = [kernel]
    if not forward_only and f"{kernel}_backward" in kernel_names():
        names.append(f"{kernel}_backward")
    shape = arguments.get("shape")
    kernels = [kernel_named(name) for name in names]
    elements = math.prod(shape) if shape else None
    return [Task(found, found.problem(arguments), elements, arguments) for found in kernels]


def make_tuner(store: Store) -> Tuner:
    """A tuner straight on the store, whose failures end the command instead of being put up with."""
    from tunedb.tuner.tuner import Tuner

    told = settings.current()
    return Tuner(told, store, locks=settings.lock_folder(told))


def tune(
    tasks: Sequence[Task],
    store: Store,
    index: int,
    *,
    force: bool = False,
    budget: float = math.inf,
    step: float | None = None,
) -> list[dict[str, Any]]:
    """Tune what the store has no config for, with progress on stderr; a row for each task, `config` None if it failed.

    With `step`, in a process of its own that is ended where a trial's step takes longer than so many seconds; without,
    in this one. Stops early where the budget (in seconds, for all of them) is spent, or this process lost the device.
    """
    from tunedb.worker.child import tune_task
    from tunedb.worker.supervisor import Supervisor

    device, tuner, begun = device_of(index), make_tuner(store), time.monotonic()
    _warn_about_interpreter(tasks, index)
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(len(tasks)))
        apart = None if step is None else stack.enter_context(Supervisor(store, tuner.settings, index, step))
        for task in tasks:
            left = budget - (time.monotonic() - begun)
            if left <= 0:
                log.info("The budget is spent: %d problems are left.", len(tasks) - len(rows))
                break
            progress.next(f"{task.kernel.name} ({task.problem})")
            if apart is None:
                case = TuningTask(task.kernel, task.problem, Placement(device, index))
                source, sweep = tune_task(tuner, case, force=force, budget=left, observer=progress)
            else:
                source, sweep = apart.tune(task.problem, task.arguments, force=force, budget=left, observer=progress)
            progress.done(source, sweep)
            rows.append(_row(task, device, source, sweep))
            if apart is None and sweep is not None and suspect_of(sweep) is not None:
                log.error("tunedb: The device is lost. Run the same command again: it goes on from here.")
                break
    return rows


def _row(task: Task, device: Device, source: str, sweep: Sweep | None) -> dict[str, Any]:
    config = None if sweep is None or sweep.config is None else sweep.config.plain()
    return {
        "uid": sweep and sweep.uid,
        "kernel": task.kernel.name,
        "problem": task.problem.plain(),
        "device": device.name,
        "config": config,
        "time_us": sweep and sweep.time_us,
        "default_time_us": sweep and sweep.default_time_us,
        "speedup": sweep and sweep.speedup,
        "source": source,
    }


def _warn_about_interpreter(tasks: Sequence[Task], index: int) -> None:
    if index >= 0 or not tasks:
        return
    log.warning("No GPU is used: this is Triton's interpreter, on the CPU. Its times mean nothing for a GPU.")
    many = max((task.elements or 0 for task in tasks), default=0)
    if many > _MANY:
        log.warning("A problem of %d million elements takes the interpreter minutes, and much memory.", many // 10**6)
