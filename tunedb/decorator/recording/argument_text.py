"""Arguments of kernels as JSON, for calls that are recorded: a tensor without its memory, a function by its name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from types import FunctionType
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.core.tagged import tagged, untagged
from tunedb.decorator.validation import module_name

_PLAIN = (bool, int, float, str, type(None))
ALIGNMENT = 16  # bytes: Triton specialises on whether this divides an address


def encode(value: Any) -> Any:
    """Return a value as JSON can hold it. Raises TypeError for one that another process could not make again."""
    kind = type(value)
    if kind in _PLAIN:
        special = tagged(value)  # NaN, an infinity, an int of more than 64 bits
        return value if special is None else {"special": special}
    if kind is list:
        return [*map(encode, value)]
    if kind is tuple:
        return {"tuple": [*map(encode, value)]}
    if isinstance(value, torch.Tensor):
        return {"tensor": [_name(value.dtype), list(value.shape), list(value.stride()), value.data_ptr() % ALIGNMENT]}
    if kind is torch.dtype:
        return {"dtype": _name(value)}
    if kind is tl.dtype:
        return {"triton_dtype": str(value)}
    if kind is tl.constexpr:
        return {"constexpr": encode(value.value)}
    if kind is TensorDescriptor:
        parts = value.base, list(value.shape), list(value.strides), list(value.block_shape), value.padding
        return {"descriptor": [*map(encode, parts)]}
    if isinstance(getattr(value, "base", None), torch.Tensor) and hasattr(value, "dtype"):
        return {"reinterpret": [encode(value.base), encode(value.dtype)]}
    function = getattr(value, "fn", value)
    if isinstance(function, FunctionType) and at_place_of(function) is value:
        return {"function": place_of(function)}
    raise TypeError(f"a {kind.__name__} can't be recorded")


def decode(value: Any) -> Any:
    """Return the value that `encode` wrote; a tensor is one without memory. Raises what finding a function raises."""
    if isinstance(value, list):
        return [*map(decode, value)]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return _DECODERS[kind](content)


def place_of(function: Any) -> str:
    """Return where a function is found: `module:name`. A program that is run has the name that an import gives it."""
    return f"{module_name(function)}:{function.__qualname__}"


def at_place_of(function: Any) -> Any:
    """Return what has the function's name in its module, such as the jit function around it; None if nothing has."""
    first, *others = function.__qualname__.split(".")
    scope = function.__globals__.get(first)
    return functools.reduce(lambda scope, name: getattr(scope, name, None), others, scope)


def is_found(function: Any) -> bool:
    """Say whether another process finds the function, or decorators around it: not inside another, or in no module."""
    value = at_place_of(function)
    while value is not None and not isinstance(value, FunctionType):
        value = getattr(value, "fn", None)
    return value is function


def find(place: str) -> Any:
    """Return what is found there. Raises ImportError or AttributeError, and what importing the module raises."""
    module, _, name = place.partition(":")
    return functools.reduce(getattr, name.split("."), sys.modules.get(module) or import_module(module))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tensor(content: Any) -> torch.Tensor:
    name, shape, strides, address = content
    dtype = getattr(torch, name)
    extent = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if 0 not in shape else 0
    offset = address // dtype.itemsize
    return torch.empty(offset + extent, dtype=dtype, device="meta").as_strided(shape, strides, offset)


def _descriptor(content: Any) -> TensorDescriptor:
    base, shape, strides, block_shape, padding = map(decode, content)
    return TensorDescriptor(base, shape, strides, block_shape, padding)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda content: tuple(map(decode, content)),
    "tensor": _tensor,
    "dtype": lambda content: getattr(torch, content),
    "triton_dtype": tl.dtype,
    "constexpr": lambda content: tl.constexpr(decode(content)),
    "descriptor": _descriptor,
    "reinterpret": lambda content: triton.reinterpret(*map(decode, content)),
    "function": find,
    "special": untagged,
}
