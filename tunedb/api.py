"""Tune ahead of time, and ask what is stored: the Python faces of `tunedb warm` and `tunedb lookup`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from tunedb.core.device import Device, Placement
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import SettingError
from tunedb.runtime.current_device import device_of, placement_of
from tunedb.tuner import session

GROUP = "tunedb.kernels"


def kernel_names() -> list[str]:
    """The names of the kernels that installed packages register."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def kernel_named(name: str) -> RegisteredKernel:
    """The kernel registered under that name; raises SettingError, with the names that there are, or what is wrong."""
    for entry in entry_points(group=GROUP, name=name):
        try:
            kernel: RegisteredKernel = entry.load()
        except Exception as error:  # whatever the code of another's package raises
            if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "triton", "numpy"):
                raise
            raise SettingError(
                f"{name}: its package registers {entry.value}, which can't be loaded ({type(error).__name__}: {error})."
            ) from error
        if not all(hasattr(kernel, needed) for needed in ("problem", "workload")):
            raise SettingError(
                f"{name}: its package registers {entry.value}, a {type(kernel).__name__}, needed what "
                f"kernel.registered(arguments) returns. See docs/migrating.md."
            )
        return kernel
    raise SettingError(f"No kernel is called {name!r}. Installed: {', '.join(kernel_names()) or 'none'}.")


def present_index() -> int:
    """The index of the device that this process tunes on: the current GPU, or -1 for the interpreter.

    Raises SettingError where there is neither.
    """
    import torch

    from tunedb.settings import is_interpreted

    if is_interpreted():
        return -1
    if torch.cuda.is_available():
        return torch.cuda.current_device()
    raise SettingError("No GPU is here. Set TRITON_INTERPRET=1 to run on the CPU, where times mean nothing for a GPU.")


def problem_of(kernel: str, arguments: Mapping[str, Any]) -> tuple[RegisteredKernel, Problem]:
    """The registered kernel of that name, and the problem of these arguments."""
    found = kernel_named(kernel)
    return found, found.problem(arguments)


def lookup(kernel: str, *, device: Device | None = None, **arguments: Any) -> Choice | None:
    """What the store holds for a problem, such as `lookup("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)`.

    `device` asks about a GPU that is not here. Nothing is tuned and nothing remembered; None where nothing is stored.
    Raises SettingError for an unknown kernel or arguments that make no problem.
    """
    found, problem = problem_of(kernel, arguments)
    index = None
    if device is None:
        index = present_index()
        device = device_of(index)
    return session.active().look_up(TuningTask(found, problem, Placement(device, index)))


def warm(kernel: str, *, force: bool = False, **arguments: Any) -> Choice | None:
    """Tune a problem now, unless the store has its config; `force` tunes again.

    Takes the arguments of the kernel's problem: `warm("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)`. The
    budget for sweeps inside calls does not count. None where no config came out of it. Raises SettingError as
    `lookup` does, and CallerError where a function fails that came with the kernel.
    """
    found, problem = problem_of(kernel, arguments)
    mode = session.active().settings.mode
    if mode not in ("tune", "record"):
        raise SettingError(f"Found mode {mode}, which writes nothing, needed tune or record: tunedb.using(mode=...).")
    index = present_index()
    return session.active().warm(TuningTask(found, problem, placement_of(index)), force=force)
