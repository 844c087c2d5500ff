"""Names of kernels as people type them: in full, or without the module if that is clear; hints for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from tunedb import registry
from tunedb.cli.command import log
from tunedb.core.device import Device
from tunedb.errors import SettingError
from tunedb.store.interface import SweepLists
from tunedb.tuner.stored_device import devices_named


def kernel_called(store: SweepLists | None, typed: str) -> str:
    """Return the name of the installed or stored kernel that is meant.

    Raises SettingError if none or several are, with the names that are alike.
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


def with_module(typed: str, stored: Iterable[str]) -> str | None:
    """Return the only stored name that ends like this, after a dot; None if none does. Raises if several do."""
    names = sorted(name for name in set(stored) if name.endswith(f".{typed}"))
    if len(names) > 1:
        raise SettingError(f"Several stored kernels are called {typed!r}. Name one: {', '.join(names)}.")
    return names[0] if names else None


def kernel_of_list(store: SweepLists, typed: str) -> str:
    """Return the name of the kernel whose sweeps are to be listed. One that is not stored gets a hint, and has none."""
    try:
        return kernel_called(store, typed)
    except SettingError as error:
        if "Several" in str(error):
            raise
        log.info("%s", str(error))
        return typed


def devices_of_list(store: SweepLists, typed: str) -> list[Device]:
    """Return the devices whose sweeps are to be listed. A name that none has gets a hint.

    Raises SettingError if several names fit.
    """
    stored = store.upkeep.devices()
    wanted = devices_named(stored, typed)
    if stored and not wanted:
        log.info("%s", no_device(typed, stored))
    return wanted


def no_device(typed: str, stored: Iterable[Device]) -> str:
    """Return a sentence that says that no stored device is called so, with those that are."""
    names = sorted({device.name for device in stored})
    return f"No stored device is called {typed!r}.{alike(typed, names)} Stored devices: {', '.join(names)}."


def alike(typed: str, names: Iterable[str]) -> str:
    """Return a question that names what may be meant, with a blank before it; empty if nothing is alike."""
    names = list(names)
    by_text = {part.casefold(): name for name in names for part in (*name.split(), name.rpartition(".")[2], name)}
    matches = dict.fromkeys(by_text[text] for text in get_close_matches(typed.casefold(), by_text, n=3))
    return f" Did you mean {', '.join(matches)}?" if matches else ""
