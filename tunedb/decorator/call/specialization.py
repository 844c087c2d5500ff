"""What of an argument a config and a compiled kernel depend on, in a form that can be compared.

Triton compiles anew for another type, dtype, alignment or width of an argument, for 1 and for multiples of 16 (what it
calls specialisation); a config is chosen by strides as well. `part_of` says so of any value. fast.py writes the same
out as code for the types that it can take apart without a call; a test holds the two together.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
import triton.language as tl
from triton.runtime import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

BY_VALUE = frozenset([bool, str, type(None), torch.dtype, tl.dtype, JITFunction, FunctionType])


def part_of(value: Any, is_value: bool = False, with_strides: bool = True) -> tuple[Any, ...]:
    """What of a value counts: with `is_value` all of it, which is so for constexprs and for what is in `key`.

    Of a tuple it is what counts of each thing in it, of a descriptor what counts of its base: its block is not part of
    it, because a config's hook may set that. Says something only where the value `fits`.
    """
    kind = type(value)
    if kind is torch.Tensor or isinstance(value, torch.Tensor):
        facts = kind, value.dtype, not value.data_ptr() & 15, value.get_device()
        return (*facts, value.stride()) if with_strides else facts
    if kind is TensorDescriptor:
        return kind, part_of(value.base, with_strides=with_strides)
    if kind in BY_VALUE:
        return kind, value
    if isinstance(value, int):
        return (kind, value) if is_value else (kind, value == 1, not value & 15, value >> 31)
    if isinstance(value, float):
        return (kind, value.hex()) if is_value else (kind,)
    if isinstance(value, (tuple, list)):
        if not with_strides:
            return (kind, *[part_of(one, is_value, with_strides) for one in value])
        return (
            kind,
            *[  # of a plain tensor as above: a call for each would take most of a launch with eight
                (torch.Tensor, one.dtype, not one.data_ptr() & 15, one.get_device(), one.stride())
                if type(one) is torch.Tensor
                else part_of(one, is_value)
                for one in value
            ],
        )
    if kind is tl.constexpr:
        return kind, part_of(value.value, is_value=True)
    base = base_of(value)
    if base is not None:
        return kind, getattr(value, "dtype", None), part_of(base, with_strides=with_strides)
    return kind, value


def fits(value: Any) -> bool:
    """Whether `part_of` tells all that counts of a value, and holds nothing of a caller's."""
    if isinstance(value, (torch.Tensor, int, float)) or type(value) in BY_VALUE:
        return True
    if isinstance(value, tuple | list):
        return all(map(fits, value))
    if type(value) is tl.constexpr:
        return fits(value.value)
    return base_of(value) is not None or name_of(value) is not None


def is_told(value: Any) -> bool:
    """Whether a plan may rest on `part_of`: of a descriptor in a tuple nobody looks at its block."""
    return fits(value) and not (isinstance(value, (tuple, list)) and has_descriptor(value))


def has_descriptor(value: Any) -> bool:
    """Whether it is a descriptor, or a tuple with one in it."""
    return any(map(has_descriptor, value)) if isinstance(value, (tuple, list)) else hasattr(value, "block_shape")


def base_of(value: Any) -> torch.Tensor | None:
    """The tensor in a TensorDescriptor, or in one that is seen with another dtype; None for anything else."""
    base = None if isinstance(value, type) else getattr(value, "base", None)
    return base if isinstance(base, torch.Tensor) else None


def name_of(value: Any) -> str | None:
    """The name of a function, such as an activation that is a constexpr argument; None for anything else."""
    inner = getattr(value, "fn", value)
    return inner.__name__ if isinstance(inner, FunctionType) else None
