"""Average pooling as PyTorch users call it: `avg_pool1d`, `AvgPool1d`, their gradients, and the registered ops.

A call takes one of three ways. An ordinary eager call on a GPU launches the tuned kernel from a plan. Under
`torch.compile` or a dispatch mode, the call goes through the registered op. Every other call goes to torch's own
function, which gives the result or the error that the user expects.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d as torch_avg_pool1d

from tunedb.runtime.compat_torch import dispatch_modes, is_only_dispatched

from ..geometry import Window
from .eager import INTERPRETED, is_ordinary, is_supported_kind
from .plans import Plan, backward_plan, forward_plan
from .torch_library import arguments_of, torch_backward

_is_compiling = torch.compiler.is_compiling
is_scripting = torch.jit.is_scripting  # type: ignore[attr-defined]  # torch's own idiom
_is_grad_enabled = torch.is_grad_enabled


def avg_pool1d(
    input: Tensor,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average windows of the last dimension, as `torch.nn.functional.avg_pool1d` does.

    `input` is (N, C, L) or (C, L), with any strides. On a GPU, float16, bfloat16 and float32 are accumulated in
    float32, float64 in float64, by a Triton kernel with the best config that the store holds for this problem; if
    it holds none, the first call tunes (see `TUNEDB_MODE`). Other devices, dtypes and kinds of tensor get torch's own
    function. Returns (N, C, L_out) or (C, L_out) with
    L_out = floor((L + 2 * padding - kernel_size) / stride) + 1, or ceil with `ceil_mode`.

    Raises what torch's own raises for wrong arguments, and MissError in mode `strict` if nothing is stored.
    """
    if _is_compiling():
        return _traced(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if (
        kernel_size.__class__ is int
        and (stride.__class__ is int or stride is None)
        and padding.__class__ is int
        and ceil_mode.__class__ is bool
        and count_include_pad.__class__ is bool
        and is_ordinary(input)
    ):
        window = (kernel_size, kernel_size if stride is None else stride, padding, ceil_mode, count_include_pad)
        plan = forward_plan(input, window)
        if plan is not None:
            if input.requires_grad and _is_grad_enabled():
                return _apply_forward(input, plan)  # type: ignore[no-any-return,no-untyped-call]
            return plan(input)
    return _out_of_the_ordinary(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool1d(torch.nn.AvgPool1d):
    """`torch.nn.AvgPool1d` that calls `avg_pool1d`: same arguments, attributes and state."""

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, L) or (C, L) to (N, C, L_out) or (C, L_out)."""
        if is_scripting():
            return torch_avg_pool1d(
                input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
            )
        kernel_size, stride, padding = _numbers(self.kernel_size, self.stride, self.padding)
        return avg_pool1d(input, kernel_size, stride, padding, self.ceil_mode, self.count_include_pad)


def _numbers(*values: Any) -> tuple[Any, ...]:
    """Unpack one-element tuples and lists of ints; leave everything else as it is."""
    return tuple(
        value[0] if isinstance(value, tuple | list) and len(value) == 1 and type(value[0]) is int else value
        for value in values
    )


def _out_of_the_ordinary(
    input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any
) -> Tensor:
    """Serve a call that is not an ordinary one."""
    numbers = _numbers(kernel_size, stride, padding)
    if any(number is not value for number, value in zip(numbers, (kernel_size, stride, padding), strict=True)):
        kernel_size, stride, padding = numbers
        return avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if is_only_dispatched():
        return _traced(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    return torch_avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _traced(input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any) -> Tensor:
    """Call the registered op if it can serve, else torch's own. Dynamo traces this function: plain tests only."""
    kernel_size, stride, padding = _numbers(kernel_size, stride, padding)
    stride = kernel_size if stride is None else stride
    if (
        isinstance(input, Tensor)
        and (input.is_cuda or (INTERPRETED and input.is_cpu))
        and type(kernel_size) is int
        and type(stride) is int
        and type(padding) is int
        and type(ceil_mode) is bool
        and type(count_include_pad) is bool
    ):
        window = Window(kernel_size, stride, padding, ceil_mode, count_include_pad)
        if is_supported_kind(input, window):  # the op refuses rows that are too short, also of symbolic length
            return torch.ops.tunedb.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)  # type: ignore[no-any-return]
    return torch_avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


# The gradient. The operation is linear: its backward needs no saved tensor, and the backward's backward is the forward.


def _pool_backward(grad: Tensor, length: int, window: Window) -> Tensor:
    """Return the gradient of the input, of `length` columns, from that of the output."""
    if not _is_compiling() and is_ordinary(grad):
        plan = backward_plan(grad, length, window)
        if plan is not None:
            if grad.requires_grad and _is_grad_enabled():
                return _apply_backward(grad, plan)  # type: ignore[no-any-return,no-untyped-call]
            return plan(grad)
    elif _is_compiling() or dispatch_modes():
        return torch.ops.tunedb.avg_pool1d_backward(grad, length, *arguments_of(window))  # type: ignore[no-any-return]
    return torch_backward(grad, length, window)


class _AvgPool1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        return plan(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _pool_backward(grad, ctx.plan.length, ctx.plan.window), None


class _AvgPool1dBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, plan: Plan) -> Tensor:
        ctx.plan = plan
        return plan(grad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return avg_pool1d(grad, *arguments_of(ctx.plan.window)), None


# `apply` without the Python that torch puts before it for functorch's transforms: an ordinary call is in none.
_apply_forward = super(torch.autograd.Function, _AvgPool1d).apply
_apply_backward = super(torch.autograd.Function, _AvgPool1dBackward).apply
