"""What is wrong with a decoration is said where it is made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tunedb.core.problem import Problem
from tunedb.errors import IdentityError, SettingError


def check_kernel(jit: Any) -> None:
    """Raise SettingError for what is no jit function."""
    if not hasattr(jit, "fn") or not hasattr(jit, "arg_names"):
        raise SettingError(f"autotune: found {jit!r}, needed a function under @triton.jit.")


def check_names(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise SettingError where one is not known."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingError(
            f"{argument} contains names that are not kernel arguments: {', '.join(map(str, unknown))}. "
            f"Valid argument names are: {', '.join(known)}."
        )


def check_bucket(bucket: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise SettingError for a name that is not in `key`, or where there is no function."""
    check_names("bucket", bucket, keys)
    for name, function in bucket.items():
        if not callable(function):
            raise SettingError(f"bucket: {name}: found {function!r}, needed a function, such as tunedb.pow2.")


def check_reference(reference: Any) -> None:
    """Raise SettingError for what can't be called with arguments by their names."""
    if reference is None:
        return
    try:
        kinds = {one.kind for one in inspect.signature(reference).parameters.values()}
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"reference: found {reference!r}, needed a function of the kernel's arguments by name ({error})."
        ) from error
    if kinds & {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}:
        raise SettingError("reference: it gets arguments by name, and has parameters that can't be given so.")


def checked_name(name: str) -> str:
    """The name that a kernel is given to be stored under. Raises SettingError for one that can't be."""
    try:
        return Problem.of(name).kernel
    except IdentityError as error:
        raise SettingError(f"name: {error}") from error


def name_of(function: Callable[..., Any]) -> str:
    """The name of a kernel that is given none: its module's and its own."""
    name = f"{function.__module__}.{function.__qualname__}".replace(".<locals>", "")
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)[:200]
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"[:200]  # of a file whose name begins with a digit
