"""Tune ahead of time, and ask what is stored: the Python faces of `tunedb warm` and `tunedb lookup`."""

from __future__ import annotations

from typing import Any

from tunedb import registry
from tunedb.core.device import Device, Placement
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import SettingError
from tunedb.runtime.current_device import current_index, placement_of
from tunedb.tuner import session


def lookup(kernel: str, *, device: Device | None = None, **arguments: Any) -> Choice | None:
    """Return the stored choice for a problem, or None if nothing is stored. Tunes nothing and caches nothing.

    `lookup("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)` asks about the current device; `device` asks about
    another one. Raises SettingError for an unknown kernel, and for arguments that do not make a problem.
    """
    registered = registry.kernel_named(kernel)
    problem = registered.problem(arguments)
    placement = placement_of(_current_index()) if device is None else Placement(device, None)
    return session.active().look_up(TuningTask(registered, problem, placement))


def warm(kernel: str, *, force: bool = False, **arguments: Any) -> Choice | None:
    """Tune a problem now, unless its config is stored already. `force` tunes again.

    Takes the arguments of the kernel's problem: `warm("avg_pool1d", shape=(64, 128, 65536), kernel_size=8)`. The
    budget of sweeps inside calls does not apply. Returns None if the sweep produced no config. Raises SettingError as
    `lookup` does, and CallerError if a function that belongs to the kernel fails.
    """
    registered = registry.kernel_named(kernel)
    problem = registered.problem(arguments)
    mode = session.active().settings.mode
    if mode not in ("tune", "record"):
        raise SettingError(f"Mode {mode} writes nothing; expected tune or record. Set it: tunedb.using(mode='tune').")
    return session.active().warm(TuningTask(registered, problem, placement_of(_current_index())), force=force)


def _current_index() -> int:
    """Return the index of the current GPU, or -1 for Triton's interpreter. Raises SettingError if there is neither."""
    index = current_index()
    if index is None:
        raise SettingError(
            "No GPU was found. Set TRITON_INTERPRET=1 to run on the CPU, where times mean nothing for a GPU."
        )
    return index
