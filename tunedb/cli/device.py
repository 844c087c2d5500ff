"""Devices as commands need them: the current one, stored ones by name, and the environment of calls."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from importlib import metadata

from tunedb import settings
from tunedb.core.device import Device, Placement
from tunedb.errors import SettingError
from tunedb.runtime import current_device, driver
from tunedb.runtime.driver import DriverSilent
from tunedb.settings import is_interpreted
from tunedb.tuner.stored_device import device_named

_NUMPY_FOR_TRITON_3_6 = ("1.", "2.0.", "2.1.", "2.2.", "2.3.")


def current_index() -> int:
    """Return the current GPU's index, or -1 for Triton's interpreter. Asks torch only if the driver can't tell."""
    if is_interpreted():
        return -1
    if "torch" not in sys.modules:
        with contextlib.suppress(DriverSilent):
            return -1 if driver.first_gpu() is None else 0
    return _index_by_torch()


def _index_by_torch() -> int:
    index = current_device.current_index()
    return -1 if index is None else index


def current_placement() -> Placement:
    """Return the placement on the device of `current_index`."""
    index = current_index()
    if index == 0 and "torch" not in sys.modules:
        with contextlib.suppress(DriverSilent):
            gpu = driver.first_gpu()
            if gpu is not None:
                return Placement(gpu, index)
    return current_device.placement_of(index)


def current_device_if_any() -> Device | None:
    """Return the current GPU, or the interpreter if Triton was asked for it; None without either."""
    if not is_interpreted() and not driver.has_driver():
        return None
    with contextlib.suppress(ModuleNotFoundError):  # without torch nothing runs here
        placement = current_placement()
        return None if placement.is_interpreter and not is_interpreted() else placement.device
    return None


def index_to_run_on() -> int:
    """Return `current_index`; if it is the interpreter, ask Triton for it.

    Has to be called before Triton is loaded, which reads that wish once.
    """
    index = current_index()
    if index < 0:
        settings.ask_for_interpreter()
        _check_interpreter()
    return index


def _check_interpreter() -> None:
    """Raise SettingError for the one pair of versions with which Triton's interpreter fails on every kernel."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        triton, numpy = metadata.version("triton"), metadata.version("numpy")
        if triton.startswith("3.6.") and not numpy.startswith(_NUMPY_FOR_TRITON_3_6):
            raise SettingError(
                f"Triton {triton}'s interpreter does not run with NumPy {numpy}. Run: pip install 'numpy<2.4'"
            )


def find_placement(stored: Iterable[Device], name: str | None) -> Placement | None:
    """Return the placement on the stored device of that name, None if there is none; without a name, the current one.

    Raises SettingError if several devices fit.
    """
    if name is None:
        return current_placement()
    device = device_named(stored, name)
    return None if device is None else placement_on(device)


def placement_on(device: Device) -> Placement:
    """Return the placement on a device, which has an index if it is the current one."""
    current = current_placement()
    return current if current.device == device else Placement(device, None)
