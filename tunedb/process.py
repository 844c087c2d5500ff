"""What one process keeps: its tuner, and the tables in which launchers hold their bound kernels ("plans")."""

from __future__ import annotations

import atexit
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunedb import settings as settings_module
from tunedb.errors import StoreUnavailable
from tunedb.layers import Layers
from tunedb.settings import Settings, without_password
from tunedb.shared import DEADLINE, Shared
from tunedb.shelf import BUSY_TIMEOUT, Shelf
from tunedb.tuner import Tuner

if TYPE_CHECKING:
    from tunedb.store import Store

_active: Tuner | None = None
_spent = 0.0  # seconds of sweeping inside calls, also by the tuners before: the budget is the process's
_plans: list[dict[Any, Any]] = []
_guard = threading.RLock()


def active() -> Tuner:
    """The tuner of this process."""
    global _active
    with _guard:
        if _active is None:
            _active = make_tuner(settings_module.current())
            _active.spent = _spent
        return _active


def make_tuner(settings: Settings) -> Tuner:
    """A tuner for these settings, on the store that they name."""
    writable = settings.mode not in ("read", "strict", "off")

    def opener() -> Any:
        from tunedb.store import open_store

        return open_store(settings.store, busy_timeout=BUSY_TIMEOUT, create=writable)

    shared = None
    if settings.shared and settings.mode != "off":
        shared = Shared(settings.shared, partial(_open_shared, settings.shared), writable=writable)
    layers = Layers(Shelf(settings.store, opener, writable=writable), shared)
    return Tuner(settings, layers, locks=lock_folder(settings), on_better=clear_plans)


def _open_shared(url: str) -> Store:
    from tunedb.store import open_store

    store = open_store(url, busy_timeout=DEADLINE, migrate=False, create=False)
    if store is None:
        raise StoreUnavailable(f"Found no store at {without_password(url)}. Run: tunedb db upgrade --store URL")
    return store


def lock_folder(settings: Settings) -> Path:
    """The folder of the lock files: beside the store where that is a file, else in the user's state folder."""
    is_path = "://" not in settings.store
    base = settings.store if is_path else settings_module.default_store()
    return settings_module.expand(base).parent / "locks"


def new_plans() -> dict[Any, Any]:
    """A table for a launcher's plans, emptied when the settings change or a better config appears."""
    table: dict[Any, Any] = {}
    _plans.append(table)
    return table


def clear_plans() -> None:
    """Empty every launcher's table."""
    for table in _plans:
        table.clear()


def _forget() -> None:
    global _active, _spent
    with _guard:
        before, _active = _active, None
        if before is not None:
            _spent = before.spent
            before.close()
    clear_plans()


settings_module.on_change(_forget)


def _close() -> None:
    if _active is not None:
        _active.close()


atexit.register(_close)
