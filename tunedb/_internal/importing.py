"""Imports under way at a fork: the child would wait for ever for a module that another thread was importing."""

from __future__ import annotations

import _imp
import logging
import sys
import threading
import time
from types import FrameType

MAX_WAIT_S = 60.0  # that a fork waits for imports. Chosen: torch from a slow network file system takes as long
POLL_S = 0.005

# What calls of ours import, so that a child needs it whole, whoever imports it.
_NEEDED = frozenset({"tunedb", "torch", "triton", "sqlalchemy", "alembic", "platformdirs", "psycopg", "numpy"})

# Its fork handlers keep its own import from going on during a fork: a fork that waited for it would never go on.
_NOT_WAITED_FOR = "filelock"

_log = logging.getLogger("tunedb")


class ImportGate:
    """A gate that keeps imports from beginning while a process forks.

    It is Python's own import lock, which Python takes at a fork anyway: it is held for a moment at the beginning of an
    import, but not during one.
    """

    def __init__(self) -> None:
        self._deadline = time.monotonic() + MAX_WAIT_S
        self._is_closed = False

    def close(self) -> bool:
        """Keep imports out; returns False, and does not, if one is under way that this should `wait` for."""
        _imp.acquire_lock()
        self._is_closed = True
        name = name_under_way()
        if name is not None:
            if time.monotonic() < self._deadline:
                self.open()
                return False
            _log.warning("A process is forked although its import of %s has not ended for %g s.", name, MAX_WAIT_S)
        return True

    def wait(self) -> None:
        """Wait until no import is under way, or until it is too late."""
        while name_under_way() is not None and time.monotonic() < self._deadline:
            time.sleep(POLL_S)

    def open(self) -> None:
        """Let imports begin again."""
        if self._is_closed:
            self._is_closed = False
            _imp.release_lock()


def name_under_way() -> str | None:
    """Return the name of a module that another thread imports and calls of ours need; None if there is none.

    Those are modules of the packages that we need, and all that is imported within our code.
    """
    own = threading.get_ident()
    for thread, frame in sys._current_frames().items():
        if thread != own and (name := _imported_by(frame)) is not None:
            return name
    return None


def drop_partial_imports() -> None:
    """Let a forked child import filelock again if another thread of its parent was in the middle of that."""
    for name, module in list(sys.modules.items()):
        if _package(name) == _NOT_WAITED_FOR and getattr(getattr(module, "__spec__", None), "_initializing", False):
            del sys.modules[name]
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})  # by name, held by threads that are gone
    for name in [name for name in locks if _package(name) == _NOT_WAITED_FOR]:
        del locks[name]


def _imported_by(innermost: FrameType) -> str | None:
    """Return the name of a module that is imported in the stack of a thread, as above."""
    frame: FrameType | None = innermost
    name: str | None = None
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            imported = frame.f_locals.get("name")
            name = imported if isinstance(imported, str) else name or "a module"
            if _package(name) in _NEEDED:
                return name
        elif name is not None and _package(str(frame.f_globals.get("__name__"))) == "tunedb":
            return name
        frame = frame.f_back
    return None


def _package(name: str) -> str:
    return name.partition(".")[0]
