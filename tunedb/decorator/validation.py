"""Checks of a decoration's arguments, so that a mistake is reported where it was made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tunedb.core.problem import Problem
from tunedb.errors import IdentityError, SettingError


def check_kernel(jit: Any) -> None:
    """Raise SettingError for anything but a jit function."""
    if not hasattr(jit, "fn") or not hasattr(jit, "arg_names"):
        raise SettingError(f"autotune: expected a function decorated with @triton.jit, got {jit!r}.")


def check_decoration(
    parameters: Collection[str], names: Mapping[str, Iterable[str] | None], bucket: Mapping[str, Any], reference: Any
) -> None:
    """Raise SettingError for an argument of the decorator that does not fit the kernel. `names` has a key `key`."""
    for argument, of_argument in names.items():
        check_names(argument, of_argument or (), parameters)
    check_bucket(bucket, names["key"] or ())
    check_reference(reference)


def check_names(argument: str, names: Iterable[str], valid: Iterable[str]) -> None:
    """Raise SettingError if a name is not among the valid ones."""
    unknown = [name for name in names if name not in valid]
    if unknown:
        raise SettingError(
            f"{argument} contains names that are not kernel arguments: {', '.join(map(str, unknown))}. "
            f"Valid argument names are: {', '.join(valid)}."
        )


def check_bucket(bucket: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise SettingError for a name that is not in `key`, and for a bucket that can't be called."""
    check_names("bucket", bucket, keys)
    for name, function in bucket.items():
        if not callable(function):
            raise SettingError(f"bucket: {name}: expected a function, such as tunedb.pow2, got {function!r}.")


def check_reference(reference: Any) -> None:
    """Raise SettingError for a reference that can't be called with arguments by name."""
    if reference is None:
        return
    try:
        parameters = inspect.signature(reference).parameters.values()
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"reference: expected a function of the kernel's arguments by name, got {reference!r} ({error})."
        ) from error
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise SettingError(f"reference: expected parameters that can be passed by name, got {parameter}.")


def check_name(name: str) -> str:
    """Return the name that the user chose for a kernel. Raises SettingError if it can't be stored."""
    try:
        return Problem.of(name).kernel
    except IdentityError as error:
        raise SettingError(f"name: {error}") from error


def default_name(function: Callable[..., Any]) -> str:
    """Return the name of a kernel for which the user chose none: its module and qualified name."""
    name = f"{module_name(function)}.{function.__qualname__}".replace(".<locals>", "")
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)[:200]
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"[:200]  # of a file whose name begins with a digit


def module_name(function: Callable[..., Any]) -> str:
    """Return the name of the function's module; of a program that is run, the name that an import would give it.

    The function's own globals say what was run: `sys.modules` may hold a debugger, or what started a child process.
    """
    name: str = function.__module__
    if name not in ("__main__", "__mp_main__"):  # the latter in child processes of multiprocessing
        return name
    scope = function.__globals__
    spec_name, file = getattr(scope.get("__spec__"), "name", None), scope.get("__file__")
    if spec_name not in (None, "__main__", "__mp_main__"):  # run by `python -m`
        return str(spec_name)
    if not isinstance(file, str):
        return "__main__"  # typed at a prompt or in a notebook, or given by -c
    path = Path(file).absolute()
    return path.stem if path.stem != "__main__" else f"{path.parent.stem}.__main__"  # of a folder, or a zip file
