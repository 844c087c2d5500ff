"""The arguments of one call of a decorated kernel, and the problem that they make."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
import triton.language as tl

from tunedb.core.problem import Problem
from tunedb.core.source_hash import short_hash
from tunedb.decorator.call.specialization import BY_VALUE, base_of, fits, name_of, part_of
from tunedb.errors import IdentityError

WIDEST = 16  # bytes: Triton specialises on whether this divides an address; it is also the widest access of a GPU

Bucket = Callable[[int], int]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a kernel: their names in order, which are constexpr, and the defaults that some have."""

    names: tuple[str, ...]
    constexprs: frozenset[str]
    defaults: Mapping[str, Any]
    is_plain: bool  # all can be given by position and by name
    variadic: str | None = None  # the one that takes the rest of the positional arguments

    @classmethod
    def of(cls, function: FunctionType) -> Parameters:
        """Those of the Python function under a jit function."""
        found = inspect.signature(function).parameters
        return cls(
            tuple(found),
            frozenset(name for name, one in found.items() if "constexpr" in str(one.annotation)),
            {name: one.default for name, one in found.items() if one.default is not one.empty},
            all(one.kind is one.POSITIONAL_OR_KEYWORD for one in found.values()),
            next((name for name, one in found.items() if one.kind is one.VAR_POSITIONAL), None),
        )


class Call:
    """One call: its grid, and its arguments as they were given. Nothing of it is kept when the call is over."""

    __slots__ = ("args", "grid", "kwargs", "named")

    def __init__(
        self,
        names: Sequence[str],
        grid: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        variadic: str | None = None,
    ) -> None:
        self.grid = grid
        self.args = args
        self.kwargs = kwargs  # without `grid` and `warmup`, which Triton passes along with them
        self.named: dict[str, Any] = dict(zip(names, args, strict=False))
        if variadic is not None:
            place = names.index(variadic)
            self.named = {**dict(zip(names[:place], args, strict=False)), variadic: args[place:]}
        self.named.update(kwargs)

    @property
    def extra(self) -> dict[str, Any]:
        """The keyword arguments as Triton hands them to the user's functions."""
        return {"grid": self.grid, "warmup": False, **self.kwargs}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor of the call, by its argument's name; of a descriptor its base, of a tuple `name.0` and so on."""
        return {name: one for key, value in self.named.items() for name, one in tensors_of(key, value)}


def tensors_of(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in one argument."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from tensors_of(f"{name}.{place}", item)
    else:
        base = base_of(value)
        if base is not None:
            yield name, base


def is_on_host(tensor: torch.Tensor) -> bool:
    """Whether a tensor's memory is the host's, which a GPU reaches only where it is pinned."""
    return tensor.is_cpu


def problem_of(
    kernel: str, call: Call, parameters: Parameters, key: Sequence[str], buckets: Mapping[str, Bucket]
) -> Problem:
    """What a call's speed depends on.

    That is: the values of `key`, bucketed; of each tensor its dtype, layout class and alignment class; and switches,
    which are the arguments that are None, a bool, a str, a dtype or a function, also functions in a tuple. A function
    is its name and a hash of what it does. Sizes that are not in `key` don't count. Raises IdentityError, before
    anything is tuned, for a value of `key` that has no canonical JSON, HashUnavailable for a function without a hash.
    """
    facts: dict[str, object] = {}
    for name in parameters.names:
        if name in call.named:
            value = call.named[name]
        elif name in key and name in parameters.defaults:
            value = parameters.defaults[name]
        else:
            continue
        tensors = dict(tensors_of(name, value))
        if name in key:
            if tensors:
                raise IdentityError(f"key: {name} is a tensor. Its dtype, layout and alignment count by themselves.")
            facts |= _canonical(name, bucketed(name, buckets[name], value) if name in buckets else value)
        elif not tensors and _is_switch(value):
            facts |= _canonical(name, value)
        else:
            facts |= dict(_functions_in(name, value))
        for place, tensor in tensors.items():
            facts |= _facts_of(place, tensor)
        dtype = getattr(value, "dtype", None)
        if (tensors and isinstance(dtype, torch.dtype)) or type(dtype).__module__ == "triton.language.core":
            facts[f"{name}.dtype"] = dtype  # of a tensor seen with another dtype, not its base's
    return Problem.of(kernel, **facts)


def bucketed(name: str, bucket: Bucket, value: Any) -> int | float | str | bool | None:
    """What the user's function makes of a value. Raises IdentityError where it fails, or makes something else of it."""
    try:
        found: Any = _plain(bucket(value))
    except Exception as error:
        raise IdentityError(f"bucket: {name}: no bucket for {value!r} ({type(error).__name__}: {error}).") from error
    if not isinstance(found, bool | int | float | str | None):
        raise IdentityError(f"bucket: {name}: found {found!r} for {value!r}, needed an int, float, str, bool or None.")
    return found


def _is_switch(value: Any) -> bool:
    value = value.value if type(value) is tl.constexpr else value
    return type(value) in BY_VALUE or name_of(value) is not None


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _canonical(name: str, value: Any) -> dict[str, object]:
    """The fact, or the facts, of one value: a tuple is its length and its items."""
    if type(value) is tl.constexpr:
        value = value.value
    if isinstance(value, tuple | list):
        facts: dict[str, object] = {f"{name}.length": len(value)}
        for place, item in enumerate(value):
            facts |= _canonical(f"{name}.{place}", item)
        return facts
    return {name: _plain(value) if name_of(value) is None else known_as(value)}


def _functions_in(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The functions in a tuple."""
    value = value.value if type(value) is tl.constexpr else value
    if isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _functions_in(f"{name}.{place}", item)
    elif name_of(value) is not None:
        yield name, known_as(value)


def known_as(function: Any) -> str:
    """A function's name, and what tells it from others of that name and from itself after an edit."""
    return f"{name_of(function)}@{short_hash(function)}"


def _facts_of(name: str, tensor: torch.Tensor) -> dict[str, object]:
    layout, aligned = layout_of(tensor)
    return {f"{name}.dtype": tensor.dtype, f"{name}.layout": layout, f"{name}.aligned": aligned}


def layout_of(tensor: torch.Tensor) -> tuple[str, bool]:
    """The layout class, and whether 16 bytes divide the address and every pitch. Told from the strides alone.

    `rows`: the last axis is contiguous; `transposed`: the one before it is; `transposed2` and so on, the ones before
    that; `general`: none. `+broadcast` where an axis has stride 0.
    """
    strides = tensor.stride()
    units = [place for place, stride in enumerate(reversed(strides)) if stride == 1]
    if not strides or (units and units[0] == 0):
        layout = "rows"
    else:
        layout = "general" if not units else "transposed" if units[0] == 1 else f"transposed{units[0]}"
    pitches = (stride * tensor.element_size() for stride in strides if stride > 1)
    aligned = math.gcd(WIDEST, tensor.data_ptr(), *pitches) == WIDEST
    return layout + ("+broadcast" if 0 in strides else ""), aligned


def kind_of(
    call: Call, parameters: Parameters, key: Sequence[str], buckets: Mapping[str, Bucket], *, loaded: bool = False
) -> tuple[Any, ...] | None:
    """What a call's config and compiled kernel depend on, for calls without a fast path; None where it can't be told.

    With `loaded` only what the compiled kernel depends on, besides its config, its hook and heuristics. Raises
    IdentityError where a bucket fails.
    """
    parts: list[Any] = []
    for name, value in call.named.items():
        if not fits(value):
            return None
        if name in buckets and not loaded:
            parts.append(bucketed(name, buckets[name], value))
        is_value = name in parameters.constexprs or (name in key and name not in buckets and not loaded)
        parts += (name, part_of(value, is_value, with_strides=not loaded))
    return tuple(parts)
