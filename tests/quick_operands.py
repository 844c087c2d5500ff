"""Operands of Triton's interpreter, made ready once: it checks, casts and broadcasts them for every operation.

Two tensors of one type need none of it, and a number becomes the same constant each time. Others go Triton's own way.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

MAX_CONSTANTS, MAX_ELEMENTS = 2_000, 4_096  # kept: 8 MB at most of 64 bits and ordinary tiles
CHECKED = ["self", "lhs", "rhs", "allow_lhs_ptr", "allow_rhs_ptr", "arithmetic_check", "div_or_mod"]


def make_operands_quick(core: ModuleType, semantic: Any, interpreter: ModuleType) -> None:
    """Change how the interpreter of this process prepares operands, if this version of Triton does it as known."""
    check = getattr(semantic, "binary_op_type_checking_impl", None)
    if callable(check) and list(inspect.signature(check).parameters) == CHECKED:
        semantic.binary_op_type_checking_impl = checking_once(check, core)
    if hasattr(core, "_unwrap_if_constexpr"):
        core._unwrap_if_constexpr = unwrapping_what_is_wrapped(core._unwrap_if_constexpr, core)
    if hasattr(interpreter, "_patch_attr") and hasattr(interpreter, "interpreter_semantic"):
        interpreter._patch_attr = patching_quickly(interpreter)


def checking_once(check: Any, core: ModuleType) -> Any:
    """Return Triton's check of two operands, without what changes nothing and with constants that are kept."""
    tensor, plain = core.tensor, core.dtype
    constants: dict[tuple[object, ...], Any] = {}

    def kept_constant(self: Any, other: Any, number: Any, is_left: bool, div_or_mod: bool) -> Any:
        """Return the number as a constant for this tensor; None if the tensor is cast too, or it is not for keeping."""
        kind = other.type
        sizes = tuple([size.value for size in other.shape]) if kind.is_block() else None
        key = number, type(number), other.dtype.name, sizes, is_left, div_or_mod
        if (constant := constants.get(key)) is not None:
            return constant
        pair = (number, other) if is_left else (other, number)
        made = check(self, *pair, div_or_mod=div_or_mod)
        if made[1 if is_left else 0] is not other:
            return None
        constant = made[0 if is_left else 1]
        if constant.handle.data.size <= MAX_ELEMENTS and len(constants) < MAX_CONSTANTS:
            constant.handle.data.flags.writeable = False  # it is shared
            constants[key] = constant
        return constant

    def check_once(
        self: Any,
        lhs: Any,
        rhs: Any,
        allow_lhs_ptr: bool = False,
        allow_rhs_ptr: bool = False,
        arithmetic_check: bool = True,
        div_or_mod: bool = False,
    ) -> Any:
        left, right = type(lhs), type(rhs)
        if left is tensor and type(lhs.dtype) is plain:
            if right is tensor:
                if lhs.dtype is rhs.dtype and not div_or_mod:
                    return self.broadcast_impl_value(lhs, rhs)
            elif right is int and arithmetic_check:
                constant = kept_constant(self, lhs, rhs, False, div_or_mod)
                if constant is not None:
                    return lhs, constant
        elif left is int and right is tensor and type(rhs.dtype) is plain and arithmetic_check:
            constant = kept_constant(self, rhs, lhs, True, div_or_mod)
            if constant is not None:
                return constant, rhs
        return check(self, lhs, rhs, allow_lhs_ptr, allow_rhs_ptr, arithmetic_check, div_or_mod)

    return check_once


def unwrapping_what_is_wrapped(unwrap: Any, core: ModuleType) -> Any:
    """Return Triton's function that takes values out of constants, quick for the types that are none."""
    never_wrapped = frozenset((core.tensor, core.dtype, int, bool, float, str, type(None)))
    constant = core.constexpr

    def unwrap_if_constexpr(o: Any) -> Any:
        kind = type(o)
        if kind in never_wrapped:
            return o
        return o.value if kind is constant else unwrap(o)

    return unwrap_if_constexpr


def patching_quickly(interpreter: ModuleType) -> Any:
    """Return Triton's function that replaces one of its language's, whose replacement copies no arguments."""

    def patch_attr(obj: Any, name: str, member: Any, builder: Any, scope: Any) -> None:
        semantic = interpreter.interpreter_semantic

        def new_member(*args: Any, member: Any = member, **kwargs: Any) -> Any:
            kwargs["_semantic"] = semantic
            return member(*args, **kwargs)

        scope.set_attr(obj, name, new_member)

    return patch_attr
