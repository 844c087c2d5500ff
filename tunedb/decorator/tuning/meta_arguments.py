"""A call's arguments without their memory: configs are compiled for these ahead, on threads that may outlive it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb._internal.control import let_pass
from tunedb.decorator.call.arguments import Call, tensors_of
from tunedb.decorator.call.specialization import has_descriptor
from tunedb.decorator.configs import run_hook
from tunedb.decorator.kernel import KernelSpec
from tunedb.runtime.loaded_kernel import outline, prepare_call

_TENSORS = (torch.Tensor, torch.nn.Parameter)


class MetaArguments:
    """The arguments of a call with meta tensors for tensors. Nothing in them belongs to the caller."""

    def __init__(self, spec: KernelSpec, call: Call) -> None:
        """Copy the arguments. Raises TypeError or RuntimeError if a tensor is inside an object of an unknown type."""
        self._spec = spec
        self._args = tuple(map(_without_memory, call.args))
        self._kwargs = {name: _without_memory(value) for name, value in call.kwargs.items()}
        self._grid = None if callable(call.grid) else call.grid  # a function may hold the call's tensors
        self.has_descriptors = has_descriptor((*self._args, *self._kwargs.values()))

    @classmethod
    def of(cls, spec: KernelSpec, call: Call) -> MetaArguments | None:
        """Return the meta arguments of a call; None if one of its arguments can't be copied without its memory."""
        try:
            return cls(spec, call)
        except (TypeError, RuntimeError) as error:
            let_pass(error)
            return None

    def prepare(self, config: triton.Config) -> None:
        """Compile for a config. Its hook runs first, on copies of the descriptors, whose blocks it may set.

        Raises what Triton and the hook raise.
        """
        args = tuple(map(_with_own_descriptors, self._args))
        kwargs = {name: _with_own_descriptors(value) for name, value in self._kwargs.items()}
        run_hook(config, self._spec.call(self._grid, args, kwargs))
        prepare_call(self._spec.fn, args, {**kwargs, **config.all_kwargs()})


def _without_memory(value: Any) -> Any:
    if type(value) in _TENSORS:
        return outline(value)
    if type(value) in (tuple, list):
        return type(value)(map(_without_memory, value))
    if type(value) is TensorDescriptor and type(value.base) in _TENSORS:
        descriptor = _with_own_descriptors(value)
        descriptor.base = outline(value.base)
        return descriptor
    if any(True for _ in tensors_of("", value)):
        raise TypeError(f"a {type(value).__name__} can't be copied without its memory")
    return value


def _with_own_descriptors(value: Any) -> Any:
    """Return a value with copies of its descriptors and their lists, so that a hook may write into them."""
    if type(value) in (tuple, list):
        return type(value)(map(_with_own_descriptors, value))
    if type(value) is not TensorDescriptor:
        return value
    descriptor = copy.copy(value)
    descriptor.shape, descriptor.strides = list(value.shape), list(value.strides)
    descriptor.block_shape = list(value.block_shape)
    return descriptor
