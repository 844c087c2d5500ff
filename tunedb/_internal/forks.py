"""Fork handlers: make locks and threads again in the child, which has only the thread that forked."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from typing import Protocol, TypeVar

_Function = TypeVar("_Function", bound=Callable[[], object])

_log = logging.getLogger("tunedb")


class Renewable(Protocol):
    """An object with locks or threads."""

    def renew(self) -> None:
        """Make locks and threads again; the forking thread is the only one left."""


_functions: list[Callable[[], object]] = []
_objects: weakref.WeakSet[Renewable] = weakref.WeakSet()


def in_child(function: _Function) -> _Function:
    """Have a module's function called in each forked child: a decorator."""
    _functions.append(function)
    return function


def renew_in_child(thing: Renewable) -> None:
    """Have the object's `renew` called in each forked child, as long as the object lives."""
    _objects.add(thing)


def around(before: Callable[[], object], in_parent: Callable[[], object]) -> None:
    """Have functions called before each fork, and after it in the parent."""
    os.register_at_fork(before=before, after_in_parent=in_parent)


def _in_child() -> None:
    for renew in [*_functions, *(thing.renew for thing in list(_objects))]:
        try:
            renew()
        # If one fails, for example because no thread can be started, the others must still free their locks.
        except Exception:
            _log.exception("tunedb could not be made ready in a forked process; it goes on all the same.")


os.register_at_fork(after_in_child=_in_child)
