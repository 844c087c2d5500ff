"""Tune ahead of time, ask what is stored, and write what waits in memory."""

from __future__ import annotations

from typing import Any

from tunedb import registry
from tunedb.core.device import Device, Placement
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import SettingError
from tunedb.runtime.current_device import current_index, placement_of
from tunedb.tuner import session
from tunedb.tuner.stored_device import device_named


def lookup(kernel: str | RegisteredKernel, *, device: Device | str | None = None, **arguments: Any) -> Choice | None:
    """Return the stored choice for a problem, or None if nothing is stored. Tunes nothing and caches nothing.

    `lookup("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)` asks about the current device; `device` asks about
    another one, which may be given by its name, or a part of it, if sweeps of it are stored: `device="H200"`.
    `kernel` is the name of a registered kernel, or what `kernel.registered(arguments)` returns. Raises SettingError for
    an unknown kernel, for arguments that do not make a problem, and for a name that fits several devices.
    """
    registered = _registered(kernel)
    if not (device is None or isinstance(device, Device | str)):
        raise TypeError(f"device: expected a tunedb.Device or the name of a stored one, got {device!r}.")
    problem = registered.problem(arguments)
    if isinstance(device, str):
        device = device_named(session.stored_devices(), device, option="device")
        if device is None:
            return None
    placement = placement_of(_current_index()) if device is None else Placement(device, None)
    return session.active().look_up(TuningTask(registered, problem, placement))


def warm(kernel: str | RegisteredKernel, *, force: bool = False, **arguments: Any) -> Choice | None:
    """Tune a problem now, unless its config is stored already. `force` tunes again.

    Takes the arguments of the kernel's problem: `warm("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)`, and of
    `kernel` what `lookup` takes. It tunes this kernel alone: unlike the command, not its gradient, which is
    `warm("avg_pool1d_backward", ...)`. The budget of sweeps inside calls does not apply. Returns None if the sweep
    produced no config. Raises SettingError as `lookup` does, and CallerError if a function that belongs to the kernel
    fails.
    """
    registered = _registered(kernel)
    problem = registered.problem(arguments)
    mode = session.active().settings.mode
    if mode not in ("tune", "record"):
        raise SettingError(f"Mode {mode} writes nothing; expected tune or record. Set it: tunedb.using(mode='tune').")
    task = TuningTask(registered, problem, placement_of(_current_index()), arguments)
    return session.active().warm(task, force=force)


def _registered(kernel: object) -> RegisteredKernel:
    """Return the registered kernel of a name, or the kernel itself. Raises SettingError, and TypeError for others."""
    if isinstance(kernel, str):
        return registry.kernel_named(kernel)
    if registry.is_registered(kernel):
        return kernel
    if callable(getattr(kernel, "registered", None)):
        raise TypeError(
            "kernel: a decorated kernel does not say what to call it with. Give a function that makes the arguments: "
            "tunedb.warm(kernel.registered(make_arguments), n=1024). See the guide on warming."
        )
    raise TypeError(
        f"kernel: expected the name of a registered kernel or what kernel.registered(...) returns, got {kernel!r:.100}."
    )


def flush(timeout: float = 2.0) -> bool:
    """Write what waits in memory for the stores: finished sweeps and counts. Return whether all is written.

    Waits `timeout` seconds at most. A process that ends normally does this by itself, and so does a worker of
    `multiprocessing`; call it before `os._exit`, which ends a process without it. What a store does not take stays in
    memory, and is tried again.
    """
    return session.flush(timeout)


def _current_index() -> int:
    """Return the index of the current GPU, or -1 for Triton's interpreter. Raises SettingError if there is neither."""
    index = current_index()
    if index is None:
        raise SettingError(
            "No GPU was found. Set TRITON_INTERPRET=1 to run on the CPU, where times mean nothing for a GPU."
        )
    return index
