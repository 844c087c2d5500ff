"""Triton's interpreter without the work that it throws away, which is more than half of what it does.

What a kernel computes stays the same. In a version of Triton whose interpreter is made otherwise, nothing is changed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary


def make_quick() -> None:
    """Change the interpreter of this process."""
    from triton import language
    from triton.runtime import interpreter

    options = getattr(getattr(interpreter, "interpreter_builder", None), "options", None)
    # Without `debug`, it computes for each sum and product whether 32 bits hold it, and asks nobody about the result.
    if getattr(options, "debug", True) is False and hasattr(options, "sanitize_overflow"):
        interpreter.interpreter_builder.options = dataclasses.replace(options, sanitize_overflow=False)
    if hasattr(interpreter, "_get_np_dtype"):
        interpreter._get_np_dtype = looking_up_once(interpreter._get_np_dtype, language.dtype)
    if hasattr(interpreter, "_patch_lang") and hasattr(interpreter, "_LangPatchScope"):
        interpreter._patch_lang = patching_once(interpreter._patch_lang, (language, language.core))


def looking_up_once(numpy_type: Callable[[Any], Any], scalar: type) -> Callable[[Any], Any]:
    """Cache NumPy's type of each scalar type: Triton builds a table of them for every operation."""
    cached = functools.cache(numpy_type)

    def look_up(of: Any) -> Any:
        element = getattr(of, "element_ty", of)
        return cached(element) if type(element) is scalar and type(of).__name__ != "pointer_type" else numpy_type(of)

    return look_up


class Scope:
    """What undoes the replacements of a launch; nothing for a function that the launch calls."""

    def __init__(self, scope: Any = None, patched: set[ModuleType] | None = None) -> None:
        self._scope = scope
        self._patched = patched

    def restore(self) -> None:
        """Undo them."""
        if self._scope is not None:
            self._scope.restore()
        if self._patched is not None:
            self._patched.clear()


def patching_once(patch: Callable[[Any], Any], replaced: tuple[ModuleType, ...]) -> Callable[[Any], Any]:
    """Replace Triton's language once for a launch, not for each function that the launch calls."""
    used: WeakKeyDictionary[Any, frozenset[ModuleType]] = WeakKeyDictionary()
    patched: set[ModuleType] = set()  # by the launch that runs

    def patch_once(function: Any) -> Scope:
        modules = used.get(function)
        if modules is None:
            held = [value for value in function.__globals__.values() if isinstance(value, ModuleType)]
            modules = used[function] = frozenset(module for module in held if module in replaced)
        if modules and modules <= patched:
            return Scope()
        is_launch = not patched
        scope = patch(function)
        patched.update(modules)
        return Scope(scope, patched if is_launch else None)

    return patch_once
