"""Names of kernels as people type them: in full, or without the module if that is clear; hints for mistyped names."""

from __future__ import annotations

from tunedb import registry
from tunedb.cli.command import log
from tunedb.core.device import Device
from tunedb.errors import AmbiguousName, SettingError
from tunedb.store.interface import SweepLists
from tunedb.tuner.stored_device import devices_named
from tunedb.tuner.stored_names import alike, no_device, with_module


def kernel_called(store: SweepLists | None, typed: str) -> str:
    """Return the name of the installed or stored kernel that is meant.

    Raises AmbiguousName if several are, another SettingError if none is, with the names that are alike.
    """
    installed = registry.kernel_names()
    if typed in installed:
        return typed
    stored: list[str] = []
    if store is not None:
        stored = store.upkeep.kernels()
        if typed in stored:
            return typed
        if short := with_module(typed, stored):
            return short
    raise SettingError(
        f"No kernel is called {typed!r}.{alike(typed, [*installed, *stored])} "
        f"Installed kernels: {', '.join(installed) or 'none'}."
    )


def kernel_of_list(store: SweepLists, typed: str, *, announced: bool = True) -> str:
    """Return the name of the kernel whose sweeps are to be listed.

    One that is not stored has none, and gets a hint if that is `announced`.
    """
    try:
        return kernel_called(store, typed)
    except AmbiguousName:
        raise
    except SettingError as error:
        if announced:
            log.info("%s", str(error))
        return typed


def devices_of_list(store: SweepLists, typed: str, *, announced: bool = True) -> list[Device]:
    """Return the devices whose sweeps are to be listed. A name that none has gets a hint if that is `announced`.

    Raises AmbiguousName if several names fit.
    """
    stored = store.upkeep.devices()
    wanted = devices_named(stored, typed)
    if stored and not wanted and announced:
        log.info("%s", no_device(typed, stored))
    return wanted
