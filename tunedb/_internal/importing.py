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

# What our calls import: a child needs it whole, also if the program itself was importing it.
_NEEDED = frozenset({"tunedb", "torch", "triton", "sqlalchemy", "alembic", "platformdirs", "psycopg", "numpy"})

# During a fork filelock's own fork handlers stop an import of it. No import may be waited for then: another thread may
# be waiting for that one. The child drops what is half imported of these packages, which can be imported again.
_STOPS = "filelock"
_DROPPED = frozenset({"filelock", "tunedb"})

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

    Those are modules of the packages that we need, and all that is imported within our code. None also if an import
    waits for this fork.
    """
    own, under_way = threading.get_ident(), None
    for thread, frame in sys._current_frames().items():
        if thread == own:
            continue
        names = _imports(frame)
        is_waiting = frame.f_globals.get("__name__") == "threading"  # in `wait` of a condition, for example
        if is_waiting and any(_package(name) == _STOPS for name, _ in names):
            return None
        needed = (name for name, is_ours in names if is_ours or _package(name) in _NEEDED)
        under_way = under_way or next(needed, None)
    return under_way


def drop_partial_imports() -> None:
    """Let a forked child import again what another thread of its parent was in the middle of importing."""
    own = {name for name, _ in _imports(sys._getframe())}
    for name, module in list(sys.modules.items()):
        is_partial = getattr(getattr(module, "__spec__", None), "_initializing", False)
        if is_partial and _package(name) in _DROPPED and name not in own:
            del sys.modules[name]
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})  # by name, held by threads that are gone
    for name in [name for name in locks if _package(name) in _DROPPED and name not in own]:
        del locks[name]


def _imports(innermost: FrameType) -> list[tuple[str, bool]]:
    """Return the names of the modules that are being imported in a stack, and whether our code imports each."""
    frame: FrameType | None = innermost
    inside: list[str] = []  # those for which nothing of ours was met yet
    ours: list[tuple[str, bool]] = []
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
            name = frame.f_locals.get("name")
            if isinstance(name, str) and name not in inside:
                inside.append(name)
        elif inside and _package(str(frame.f_globals.get("__name__"))) == "tunedb":
            ours += [(name, True) for name in inside]
            inside = []
        frame = frame.f_back
    return ours + [(name, False) for name in inside]


def _package(name: str) -> str:
    return name.partition(".")[0]
