"""The contents of values: the parts of callables, the state of objects, the bytes of arrays."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.jit_function import is_jit
from tunedb.core.source_text import HashUnavailable

COMPILERS = ("torch", "triton", "numpy")  # the environment of a sweep names their versions


def is_dtype(kind: type) -> bool:
    """Say whether values of this type are dtypes of torch, triton or numpy."""
    if kind.__module__.partition(".")[0] not in COMPILERS:
        return False
    return any(base.__name__ == "dtype" for base in kind.__mro__)


def callable_parts(value: Any) -> tuple[Any, ...] | None:
    """Return the parts of a function that is wrapped, bound or built in; None for other objects."""
    kind = type(value)
    if is_jit(value):
        return (value.fn,)
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, BuiltinFunctionType) or kind.__name__ in ("wrapper_descriptor", "method_descriptor", "ufunc"):
        owner = getattr(value, "__self__", None)
        owner = None if isinstance(owner, ModuleType) else owner
        return str(getattr(value, "__module__", "") or "").partition(".")[0], _qualname(value), owner
    if isinstance(value, MethodType) or kind.__name__ == "BoundConstexprFunction":
        return value.__func__, value.__self__
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if hasattr(value, "fn") and _is_tritons(kind):
        values = getattr(value, "values", None)  # of heuristics
        return (value.fn, values) if isinstance(values, dict) else (value.fn,)
    if hasattr(value, "__wrapped__") and kind.__module__ == "functools":
        return (value.__wrapped__,)
    return None


def state_of(value: Any) -> Any:
    """Return an object's state as pickle would keep it. Raises HashUnavailable if the object can't be pickled."""
    kind = type(value)
    reduce = copyreg.dispatch_table.get(kind)
    try:
        reduced = value.__reduce_ex__(2) if reduce is None else reduce(value)
    # A user's method may raise anything. That an object can't be kept is all that counts.
    except Exception as error:
        let_pass(error)
        raise HashUnavailable(f"a {kind.__qualname__} has no content that is stable ({error}).") from None
    if isinstance(reduced, str):
        return reduced
    made, arguments, *rest = reduced
    state, items, pairs = [*rest, None, None, None][:3]
    if isinstance(state, dict):  # cached properties are not state
        state = {
            name: item for name, item in state.items()
            if not isinstance(getattr(kind, str(name), None), functools.cached_property)
        }  # fmt: skip
    return [made, arguments, state, items and list(items), pairs and list(pairs)]


def array_of(value: Any) -> str:
    """Return an array's or a tensor's dtype, shape and a hash of its bytes."""
    shape = tuple(value.shape)
    if hasattr(value, "untyped_storage"):
        torch = sys.modules["torch"]
        flat = value.detach().cpu().contiguous().reshape(-1)
        content = flat.view(torch.uint8).numpy().tobytes()
    elif getattr(value.dtype, "hasobject", False):
        raise HashUnavailable("an array of objects has no content that is stable.")
    else:
        content = value.tobytes()
    return f"{value.dtype} {shape} {hashlib.sha256(content).hexdigest()}"


def cells_of(function: FunctionType) -> dict[str, Any]:
    """Return the values that a function closes over, without empty cells: their names are only set later."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            values[name] = cell.cell_contents
        except ValueError:
            continue
    return values


def _is_tritons(kind: type) -> bool:
    return any(base.__module__.startswith("triton.") for base in kind.__mro__)


def _qualname(value: Any) -> str:
    return str(getattr(value, "__qualname__", None) or getattr(value, "__name__", ""))
