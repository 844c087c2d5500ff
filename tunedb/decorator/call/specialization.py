"""Specialization of arguments: what a config and a compiled kernel depend on, in a form that can be compared.

Triton compiles again for another type, dtype, alignment or width of an argument, for 1 and for multiples of 16. The
choice of a config also depends on strides. `specialization_of` handles any value; dispatch/codegen.py writes the same
comparison out as code for the types that it can take apart without a function call, and a test compares the two.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping
from types import FunctionType
from typing import Any

import torch
import triton.language as tl
from triton.runtime import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.decorator.buckets import Bucket, bucketed

BY_VALUE = frozenset([bool, str, type(None), torch.dtype, tl.dtype, JITFunction, FunctionType])


def specialization_of(value: Any, is_value: bool = False, with_strides: bool = True) -> tuple[Any, ...]:
    """Return what counts of a value; with `is_value`, for constexprs and names in `key`, that is all of it.

    A tuple contributes its items, a descriptor its base tensor: not its block, which a config's hook may set. The
    result is complete only if `can_specialize(value)`.
    """
    kind = type(value)
    if kind is torch.Tensor or isinstance(value, torch.Tensor):
        facts = kind, value.dtype, not value.data_ptr() & 15, value.get_device()
        return (*facts, value.stride()) if with_strides else facts
    if kind is TensorDescriptor:
        return kind, specialization_of(value.base, with_strides=with_strides)
    if kind in BY_VALUE:
        return kind, value
    if isinstance(value, int):
        return (kind, value) if is_value else (kind, value == 1, not value & 15, value >> 31)
    if isinstance(value, float):
        return (kind, float.hex(value)) if is_value else (kind,)
    if isinstance(value, (tuple, list)):
        if not with_strides:
            return (kind, *[specialization_of(item, is_value, with_strides) for item in value])
        return (
            kind,
            *[  # a plain tensor as above, inlined: a function call for each of eight takes most of a launch
                (torch.Tensor, item.dtype, not item.data_ptr() & 15, item.get_device(), item.stride())
                if type(item) is torch.Tensor
                else specialization_of(item, is_value)
                for item in value
            ],
        )
    if kind is tl.constexpr:
        return kind, specialization_of(value.value, is_value=True)
    base = base_of(value)
    if base is not None:
        return kind, getattr(value, "dtype", None), specialization_of(base, with_strides=with_strides)
    return kind, value


def call_specialization(
    arguments: Mapping[str, Any],
    constexprs: Collection[str],
    key: Collection[str],
    buckets: Mapping[str, Bucket],
) -> tuple[Any, ...] | None:
    """Return what a call's config and its compiled kernel depend on; None if that can't be compared.

    Raises IdentityError if a bucket fails.
    """
    parts: list[Any] = []
    for name, value in arguments.items():
        if not can_specialize(value):
            return None
        if name in buckets:
            parts.append(bucketed(name, buckets[name], value))
        is_value = name in constexprs or (name in key and name not in buckets)
        parts += (name, specialization_of(value, is_value))
    return tuple(parts)


def binary_specialization(arguments: Mapping[str, Any], constexprs: Collection[str]) -> tuple[Any, ...] | None:
    """Return what a call's compiled kernel depends on, apart from its config, its hook and heuristics.

    Returns None if that can't be compared.
    """
    if not all(map(can_specialize, arguments.values())):
        return None
    return tuple(
        part
        for name, value in arguments.items()
        for part in (name, specialization_of(value, name in constexprs, with_strides=False))
    )


def can_specialize(value: Any) -> bool:
    """Say whether `specialization_of` covers all that counts of a value without keeping the caller's memory alive."""
    if isinstance(value, (torch.Tensor, int, float, str, enum.Enum)) or type(value) in BY_VALUE:
        return True
    if isinstance(value, tuple | list):
        return all(map(can_specialize, value))
    if type(value) is tl.constexpr:
        return can_specialize(value.value)
    return base_of(value) is not None or function_name(value) is not None or _is_frozen(value)


def _is_frozen(value: Any) -> bool:
    """Say whether a value is a constant of a frozen dataclass, such as a Gluon layout."""
    parameters = getattr(type(value), "__dataclass_params__", None)
    if parameters is None or not (parameters.frozen and parameters.eq):
        return False
    return all(_is_constant(getattr(value, field.name, None)) for field in dataclasses.fields(value))


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_constant, value))
    return isinstance(value, (int, float, str, enum.Enum)) or type(value) in BY_VALUE or _is_frozen(value)


def can_plan(value: Any) -> bool:
    """Say whether a plan may rest on `specialization_of`: it ignores the block of a descriptor inside a tuple."""
    return can_specialize(value) and not (isinstance(value, (tuple, list)) and has_descriptor(value))


def has_descriptor(value: Any) -> bool:
    """Say whether a value is a descriptor, or a tuple with one in it."""
    return any(map(has_descriptor, value)) if isinstance(value, (tuple, list)) else hasattr(value, "block_shape")


def base_of(value: Any) -> torch.Tensor | None:
    """Return the tensor in a TensorDescriptor or in a `triton.reinterpret`; None for anything else."""
    base = None if isinstance(value, type) else getattr(value, "base", None)
    return base if isinstance(base, torch.Tensor) else None


def function_name(value: Any) -> str | None:
    """Return the name of a function, such as an activation given as a constexpr; None for anything else."""
    inner = getattr(value, "fn", value)
    return inner.__name__ if isinstance(inner, FunctionType) else None
