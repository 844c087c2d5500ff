"""Triton's interpreter without the work that it throws away, which is more than half of what it does.

What a kernel computes stays the same. In a version of Triton whose interpreter is made otherwise, nothing is changed.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from tests.quick_operands import make_operands_quick


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
    share_types(language.core, language.semantic.TritonSemantic)
    make_operands_quick(language.core, language.semantic.TritonSemantic, interpreter)


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


def share_types(core: ModuleType, semantic: Any) -> None:
    """Build each type of a block once, with what tensors of it have: Triton builds them for every operation."""
    block, tensor, plain, fixed = core.block_type, core.tensor, core.dtype, core.constexpr
    make_type, make_tensor = block.__init__, tensor.__init__
    wanted = ["self", "element_ty", "shape"], ["self", "handle", "type"], ["self", "lhs", "rhs"]
    broadcast = getattr(semantic, "broadcast_impl_value", None)
    if tuple(map(arguments_of, (make_type, make_tensor, broadcast))) != wanted:
        return
    types: dict[tuple[object, ...], dict[str, Any]] = {}  # attributes, by name and shape
    shapes: dict[tuple[object, ...], Any] = {}
    scalar = tensor(None, core.int32)
    of_scalars = scalar.numel, scalar.shape

    def init_type(self: Any, element_ty: Any, shape: Any) -> None:
        sizes = tuple([size.value if type(size) is fixed else size for size in shape])
        if type(element_ty) is not plain:  # a pointer: its name does not say all
            make_type(self, element_ty, shape)
        elif (attributes := types.get((element_ty.name, *sizes))) is not None:
            self.__dict__ = attributes
            return
        else:
            make_type(self, element_ty, shape)
            types[element_ty.name, *sizes] = self.__dict__
        self.shape = shapes.setdefault(sizes, self.shape)

    def init_tensor(self: Any, handle: Any, type: Any) -> None:
        is_block = type.is_block()
        if (known := type.__dict__.get("_of_tensors") if is_block else of_scalars) is None:
            make_tensor(self, handle, type)
            type._of_tensors = self.numel, self.shape
        else:
            self.handle, self.type, self.dtype = handle, type, type.scalar
            self.numel, self.shape = known

    def broadcast_unless_alike(self: Any, lhs: Any, rhs: Any) -> Any:
        one, other = lhs.type, rhs.type
        if one.is_block() and other.is_block() and one.shape is other.shape:
            return lhs, rhs
        return broadcast(self, lhs, rhs)  # type: ignore[misc]  # it is there

    block.__init__, tensor.__init__ = init_type, init_tensor
    semantic.broadcast_impl_value = broadcast_unless_alike


def arguments_of(function: Any) -> list[str]:
    """The names of a function's arguments; none if it is none."""
    return list(inspect.signature(function).parameters) if callable(function) else []
