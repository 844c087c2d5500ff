"""Fork handlers: what a fork waits for, and the locks and threads that its child, which has one thread, makes again."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - has fork handlers too: ours have to run first, so they come later
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol, TypeVar

from tunedb._internal.importing import ImportGate, drop_partial_imports

_Function = TypeVar("_Function", bound=Callable[[], object])

_log = logging.getLogger("tunedb")


class Renewable(Protocol):
    """An object with locks or threads."""

    def renew(self) -> None:
        """Make locks and threads again; the forking thread is the only one left."""


_functions: list[Callable[[], object]] = []
_objects: weakref.WeakSet[Renewable] = weakref.WeakSet()
_before: list[Callable[[], object]] = []
_in_parent: list[Callable[[], object]] = []
_this_thread = threading.local()  # `gate`: that of the fork which this thread is making


def in_child(function: _Function) -> _Function:
    """Have a module's function called in each forked child: a decorator."""
    _functions.append(function)
    return function


def renew_in_child(thing: Renewable) -> None:
    """Have the object's `renew` called in each forked child, as long as the object lives."""
    _objects.add(thing)


def around(before: Callable[[], object], in_parent: Callable[[], object]) -> None:
    """Have functions called before each fork, and after it in the parent.

    The two may be called several times before one fork, always in turn.
    """
    _before.append(before)
    _in_parent.append(in_parent)


def _hold() -> None:
    """Wait for imports that calls need, and for what is under way, in an order in which nothing waits for this fork.

    A thread that imports may hold what `around` waits for, and a thread that holds it may begin an import. So imports
    are kept out last, and all is let go if one is under way.
    """
    gate = ImportGate()
    try:
        while True:
            _call_all(_before)
            _this_thread.gate = gate
            if gate.close():
                return
            _let_go()
            gate.wait()
    # An interrupt: Python reports it, and forks all the same, so the locks must be free.
    except BaseException:
        _let_go()
        raise


def _let_go() -> None:
    gate, _this_thread.gate = getattr(_this_thread, "gate", None), None
    if gate is not None:  # this fork was held
        gate.open()
        _call_all(_in_parent)


def _renew() -> None:
    gate, _this_thread.gate = getattr(_this_thread, "gate", None), None
    if gate is not None:
        gate.open()
    _call_all([drop_partial_imports, *_functions, *(thing.renew for thing in list(_objects))])


def _call_all(functions: list[Callable[[], object]]) -> None:
    for function in functions:
        try:
            function()
        # If one fails, for example because no thread can be started, the others must still free their locks.
        except Exception:
            _log.exception("tunedb could not be made ready for a fork; it goes on all the same.")


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_renew)
