"""A call without its memory: what a kernel is compiled from ahead, on other threads, if need be after the call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.decorator.call.arguments import Call, tensors_of
from tunedb.decorator.call.specialization import has_descriptor
from tunedb.runtime.loaded_kernel import outline, prepare_call


class Outlines:
    """The arguments of a call, with outlines in the place of tensors. Nothing in it is the caller's."""

    def __init__(self, call: Call, names: Sequence[str], variadic: str | None) -> None:
        """Raises TypeError or RuntimeError where the call's tensors are in objects of another kind."""
        self._names, self._variadic = names, variadic
        self._args = tuple(map(_outlined, call.args))
        self._kwargs = {name: _outlined(one) for name, one in call.kwargs.items()}
        self._grid = None if callable(call.grid) else call.grid  # a function may hold the call's tensors
        self.has_descriptors = has_descriptor((*self._args, *self._kwargs.values()))

    @classmethod
    def of(cls, call: Call, names: Sequence[str], variadic: str | None) -> Outlines | None:
        """Those of a call; None where it has none."""
        try:
            return cls(call, names, variadic)
        except (TypeError, RuntimeError):
            return None

    def prepare(self, stack: Any, config: triton.Config) -> None:
        """Compile for a config. Its hook runs first, on descriptors that are no other's: it may set their blocks.

        Raises what Triton and the hook raise.
        """
        args, kwargs = tuple(map(_own, self._args)), {name: _own(one) for name, one in self._kwargs.items()}
        if config.pre_hook is not None:
            call = Call(self._names, self._grid, args, kwargs, self._variadic)
            config.pre_hook({**call.named, **call.extra, **config.all_kwargs()})
        prepare_call(stack, args, {**kwargs, **config.all_kwargs()})


def _outlined(value: Any) -> Any:
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        return outline(value)
    if type(value) in (tuple, list):
        return type(value)(map(_outlined, value))
    if type(value) is TensorDescriptor and type(value.base) in (torch.Tensor, torch.nn.Parameter):
        found = _own(value)
        found.base = outline(value.base)
        return found
    if any(True for _ in tensors_of("", value)):
        raise TypeError(f"a {type(value).__name__} has no outline")
    return value


def _own(value: Any) -> Any:
    """The same with descriptors of its own, also where a hook writes into their lists."""
    if type(value) in (tuple, list):
        return type(value)(map(_own, value))
    if type(value) is not TensorDescriptor:
        return value
    found = copy.copy(value)
    found.shape, found.strides, found.block_shape = list(value.shape), list(value.strides), list(value.block_shape)
    return found
