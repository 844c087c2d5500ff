"""Time for stores on a busy machine, in tests of something else: the product gives up on a store after a second."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

LIMITS = {
    "tunedb.store.wait_budget": ("CALL_S",),
    "tunedb.store.guarded": ("CALL_S", "READ_S"),
    "tunedb.store.reopening": ("OPENING_S",),
    "tunedb.store.writer": ("RESULT_S", "TRIALS_S"),
    "tunedb.store.shared": ("DEADLINE_S", "SEND_S"),
    "tunedb.tuner.session": ("BUSY_TIMEOUT_S", "CALL_S", "CHANGE_S", "DEADLINE_S"),
}


def be_patient(change: Callable[[object, str, float], None] = setattr) -> None:
    """Wait for a minute where the product waits for a second; `change` may be that of a monkeypatch."""
    for module, names in LIMITS.items():
        for name in names:
            change(import_module(module), name, 60.0)
