"""The problem that a call makes: the facts about its arguments that its speed depends on."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import triton.language as tl

from tunedb.core.problem import Problem
from tunedb.core.source_hash import content_hash, short_hash
from tunedb.decorator.buckets import Bucket, bucketed, plain_number
from tunedb.decorator.call.arguments import Call, Parameters, tensors_of
from tunedb.decorator.call.specialization import BY_VALUE, function_name
from tunedb.errors import IdentityError

_FEW_FACTS = frozenset([torch.Tensor, int, float])
WIDEST_ACCESS_BYTES = 16  # Triton specialises on whether this divides an address; it is also a GPU's widest access


def problem_of(
    kernel: str, call: Call, parameters: Parameters, key: Sequence[str], buckets: Mapping[str, Bucket]
) -> Problem:
    """Return the problem of a call of the kernel with that name.

    Its facts are the values of `key`, bucketed; each tensor's dtype, layout class and alignment class; the dtype and
    alignment class of other objects with an address; and switches: arguments that are None, a bool, a str, a dtype or a
    function, also functions in a tuple. A function counts as its name and a hash of what it does. Sizes that are not in
    `key` don't count.

    Raises IdentityError, before anything is tuned, for a tensor in `key`, HashUnavailable for a function without a hash
    and for a value of `key` whose content is not the same in every process.
    """
    facts: dict[str, object] = {}
    for name in parameters.names:
        if name in call.named:
            value = call.named[name]
        elif name in key and name in parameters.defaults:
            value = parameters.defaults[name]
        else:
            continue
        if name not in key and type(value) in _FEW_FACTS:  # most arguments: the rest below comes to the same
            if type(value) is torch.Tensor:
                facts |= _tensor_facts(name, value)
            continue
        tensors = dict(tensors_of(name, value))
        if name in key:
            if tensors:
                raise IdentityError(
                    f"key: {name} is a tensor. Leave it out: its dtype, layout and alignment count by themselves."
                )
            facts |= _canonical(name, bucketed(name, buckets[name], value) if name in buckets else value)
        elif not tensors and _is_switch(value):
            facts |= _canonical(name, value)
        else:
            facts |= dict(_functions_in(name, value))
            facts |= dict(_addresses_in(name, value))
        for place, tensor in tensors.items():
            facts |= _tensor_facts(place, tensor)
        dtype = getattr(value, "dtype", None)
        if (tensors and isinstance(dtype, torch.dtype)) or type(dtype).__module__ == "triton.language.core":
            facts[f"{name}.dtype"] = dtype  # of a tensor seen with another dtype, not its base's
    return Problem.of(kernel, **facts)


def name_and_hash(function: Any) -> str:
    """Return a function's name and a hash of what it does, which differs from its namesakes' and earlier versions'."""
    return f"{function_name(function)}@{short_hash(function)}"


def layout_of(tensor: torch.Tensor) -> tuple[str, bool]:
    """Return the layout class, and whether 16 bytes divide the address and every pitch. Only strides count.

    `empty`: there are no elements; `rows`: the last axis is contiguous; `transposed`: the one before it is;
    `transposed2` and so on, the ones before that; `general`: none is. `+broadcast` is added if an axis has stride 0.
    """
    if not tensor.numel():
        return "empty", True  # what is tuned without the elements says nothing about calls that have them
    strides = tensor.stride()
    units = [place for place, stride in enumerate(reversed(strides)) if stride == 1]
    if not strides or (units and units[0] == 0):
        layout = "rows"
    else:
        layout = "general" if not units else "transposed" if units[0] == 1 else f"transposed{units[0]}"
    pitches = (stride * tensor.element_size() for stride in strides if stride > 1)
    aligned = math.gcd(WIDEST_ACCESS_BYTES, tensor.data_ptr(), *pitches) == WIDEST_ACCESS_BYTES
    return layout + ("+broadcast" if 0 in strides else ""), aligned


def _is_switch(value: Any) -> bool:
    value = value.value if type(value) is tl.constexpr else value
    return type(value) in BY_VALUE or function_name(value) is not None


def _canonical(name: str, value: Any) -> dict[str, object]:
    """Return the facts of one value of `key`: a tuple has its length and its items, a dataclass its fields.

    A class is named by a fact of its own, so that no str has the same facts.
    """
    if type(value) is tl.constexpr:
        value = value.value
    if isinstance(value, enum.Enum) and not isinstance(value, int | float | str):
        return {f"{name}.class": type(value).__qualname__, name: value.name, **_canonical(f"{name}.value", value.value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        facts: dict[str, object] = {f"{name}.class": type(value).__qualname__}
        for field in dataclasses.fields(value):
            facts |= _canonical(f"{name}.{field.name}", getattr(value, field.name, None))
        return facts
    if isinstance(value, tuple | list):
        facts = {f"{name}.length": len(value)}
        for place, item in enumerate(value):
            facts |= _canonical(f"{name}.{place}", item)
        return facts
    if isinstance(value, torch.Tensor):
        raise IdentityError(f"key: {name} is a tensor, whose values can't be compared. Use one of its sizes.")
    if function_name(value) is not None:
        return {name: name_and_hash(value)}
    value = plain_number(value)
    if value is None or isinstance(value, bool | int | float | str) or _is_compilers_dtype(value):
        return {name: value}
    return {f"{name}.class": type(value).__qualname__, name: content_hash(value)}


def _functions_in(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the functions in a value, which may be a tuple, each with its hash."""
    value = value.value if type(value) is tl.constexpr else value
    if isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _functions_in(f"{name}.{place}", item)
    elif function_name(value) is not None:
        yield name, name_and_hash(value)


def _addresses_in(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """Yield the facts of objects that are no tensors of torch's, but have an address and a dtype."""
    if isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _addresses_in(f"{name}.{place}", item)
    elif hasattr(value, "data_ptr") and hasattr(value, "dtype") and next(tensors_of(name, value), None) is None:
        yield f"{name}.dtype", value.dtype if _is_compilers_dtype(value.dtype) else str(value.dtype)
        yield f"{name}.aligned", value.data_ptr() % WIDEST_ACCESS_BYTES == 0


def _is_compilers_dtype(value: Any) -> bool:
    return isinstance(value, torch.dtype | tl.dtype)


def _tensor_facts(name: str, tensor: torch.Tensor) -> dict[str, object]:
    layout, aligned = layout_of(tensor)
    return {f"{name}.dtype": tensor.dtype, f"{name}.layout": layout, f"{name}.aligned": aligned}
