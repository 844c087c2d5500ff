"""Devices by the names that people type: those that a store has sweeps of."""

from __future__ import annotations

from collections.abc import Iterable

from tunedb.core.device import Device
from tunedb.core.known_devices import device_label
from tunedb.errors import AmbiguousName


def devices_named(devices: Iterable[Device], name: str, *, option: str = "--device") -> list[Device]:
    """Return the devices of that name, else those of the only name that contains it, in any case.

    The architecture and the multiprocessors in a device's text can be part of it. If no name contains it, it may be
    another tool's label of a device, such as NVIDIA_H100_80GB_HBM3. Raises AmbiguousName if several names contain it;
    `option` is what the message calls it.
    """
    candidates = sorted(set(devices), key=str)
    exact = [device for device in candidates if name in (device.name, str(device))]
    if exact:
        return exact
    partly = [device for device in candidates if name.casefold() in str(device).casefold()]
    if len({device.name for device in partly}) > 1:
        raise AmbiguousName(f"{option}: {name!r} fits {listed(partly)}. Give the whole name of one.")
    return partly or [device for device in candidates if device_label(device.name) == device_label(name)]


def device_named(devices: Iterable[Device], name: str, *, option: str = "--device") -> Device | None:
    """Return the only device of that name, as `devices_named` reads it; None if there is none.

    Raises AmbiguousName if several devices fit.
    """
    fitting = devices_named(devices, name, option=option)
    if len(fitting) > 1:
        raise AmbiguousName(f"{option}: {name!r} fits {listed(fitting)}. Give one of these in full.")
    return fitting[0] if fitting else None


def listed(devices: Iterable[Device]) -> str:
    """Return the devices as text, for a message."""
    return "; ".join(sorted(map(str, devices))) or "none"
