"""How attributes of Triton's instances are read and assigned to while kernels are adopted.

An instance's attributes stay in its `__dict__`, where Triton keeps them. Results of an adopted kernel's calls are read
from its companion, and what a program assigns reaches the companion too.
"""

from __future__ import annotations

import sys

from tunedb.adoption.attribute_names import DECISIVE, FOLLOWED, LISTS, PRUNING, RESULTS
from tunedb.adoption.torch_frames import COMPILED, is_made_by_torch, is_read_by_name

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tunedb.adoption.outcome import Outcome

OUTCOME = "_tunedb_outcome"  # the key of an instance's outcome in its `__dict__`


def outcome_of(kernel: Any) -> Outcome | None:
    """Return what became of a kernel; None if that is not decided. A copy of a kernel is another one."""
    outcome: Outcome | None = kernel.__dict__.get(OUTCOME)
    return outcome if outcome is not None and outcome.kernel is kernel else None


def descriptors(reach: Callable[[Any], Outcome], release: Callable[[Any], None]) -> dict[str, Any]:
    """Return the descriptors to put on Triton's class, by name.

    `reach` returns what becomes of a kernel, and decides it if need be; `release` has it decided again.
    """
    return {
        **{name: _shared(name, is_result=False) for name in LISTS},
        **{name: _shared(name, is_result=True) for name in RESULTS},
        **{name: _followed(name) for name in FOLLOWED},
        **{name: _Decisive(name, release) for name in DECISIVE},
        PRUNING: _pruning(reach),
    }


class _Decisive:
    """An attribute that decides what becomes of the kernel, and that every instance has.

    Triton's `run` reads it at each call: without a `__get__`, that costs no more than before.
    """

    def __init__(self, name: str, release: Callable[[Any], None]) -> None:
        self._name = name
        self._release = release

    def __set__(self, kernel: Any, value: Any) -> None:
        kernel.__dict__[self._name] = value
        self._release(kernel)


def _followed(name: str) -> property:
    """Return an attribute that is assigned to the companion too."""

    def get(kernel: Any) -> Any:
        return _own(kernel, name)

    return property(get, lambda kernel, value: _assign(kernel, name, value), lambda kernel: _delete(kernel, name))


def _shared(name: str, is_result: bool) -> property:
    """Return an attribute that is read from the companion, if there is one. A result may not be there yet."""

    def get(kernel: Any) -> Any:
        attributes = kernel.__dict__
        outcome = attributes.get(OUTCOME)
        companion = None if outcome is None else outcome.companion  # read once: another thread may refuse the kernel
        if companion is not None and outcome.kernel is kernel:
            value = getattr(companion, name)
            if value or not is_result:
                return value
        return attributes[name] if name in attributes else _own(kernel, name)

    return property(get, lambda kernel, value: _assign(kernel, name, value), lambda kernel: _delete(kernel, name))


def _pruning(reach: Callable[[Any], Outcome]) -> property:
    """Return the attribute `early_config_prune`, where compiled code finds a function that reads the store.

    Dynamo reads the attribute while it traces, and compares it before each call of compiled code, without a frame that
    names it. So code that names the attribute, and is not torch's, gets the instance's own; all else gets the
    companion's. After pruning, Dynamo makes another kernel and reads the attribute of that one, which has only its own.
    """

    def get(kernel: Any) -> Any:
        own = _own(kernel, PRUNING)
        if own is not None or COMPILED in kernel.__dict__ or "torch._dynamo" not in sys.modules:
            return own
        if is_read_by_name(PRUNING, sys._getframe(1)):
            return own
        companion = reach(kernel).companion
        return None if companion is None else companion.early_config_prune

    def put(kernel: Any, value: Any) -> None:
        if PRUNING not in kernel.__dict__ and is_made_by_torch(sys._getframe(1)):
            kernel.__dict__[COMPILED] = True
        _assign(kernel, PRUNING, value)

    return property(get, put, lambda kernel: _delete(kernel, PRUNING))


def _assign(kernel: Any, name: str, value: Any) -> None:
    kernel.__dict__[name] = value
    outcome = kernel.__dict__.get(OUTCOME)
    companion = None if outcome is None else outcome.companion
    if companion is not None and outcome.kernel is kernel:
        setattr(companion, name, value)


def _delete(kernel: Any, name: str) -> None:
    _own(kernel, name)
    del kernel.__dict__[name]


def _own(kernel: Any, name: str) -> Any:
    """Return an instance's own attribute. Raises AttributeError as Python does."""
    try:
        return kernel.__dict__[name]
    except KeyError:
        text = f"{type(kernel).__name__!r} object has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=kernel) from None
