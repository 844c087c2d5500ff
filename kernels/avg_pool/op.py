"""Average pooling as PyTorch users call it: `avg_pool1d`, `AvgPool1d`, their gradients, and the registered ops.

A call takes one of three ways. An ordinary eager call on a GPU launches the tuned kernel from a plan. Under
`torch.compile` or a dispatch mode, the call goes through the registered op. Every other call goes to torch's own
function, which gives the result or the error that the user expects.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import avg_pool1d as torch_avg_pool1d

from tunedb._internal.control import let_pass
from tunedb.runtime.compat_torch import dispatch_modes, is_only_dispatched

from ..geometry import Window
from .eager import INTERPRETED, is_ordinary, is_supported_kind
from .plans import Call, Plan, backward_plan, forward_plan, last_backwards, last_forwards, remember
from .torch_library import Arguments, arguments_of, torch_backward

_is_compiling = torch.compiler.is_compiling
is_scripting = torch.jit.is_scripting  # type: ignore[attr-defined]  # torch's own idiom
_is_grad_enabled = torch.is_grad_enabled
_last_forward = last_forwards.get
_last_backward = last_backwards.get


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
        and (input.__class__ is Tensor or input.__class__ is Parameter)
    ):
        window = (kernel_size, kernel_size if stride is None else stride, padding, ceil_mode, count_include_pad)
        try:
            last = _last_forward((input.shape, window))
        except (RuntimeError, TypeError) as error:  # a nested tensor has no shape, and a symbolic one no hash
            let_pass(error)
            last = None
        if last is not None and last[0](input):
            return last[1](input)
        plan = forward_plan(input, window) if is_ordinary(input) else None
        if plan is not None:
            call = forward_with_graph(plan) if input.requires_grad and _is_grad_enabled() else plan.launch
            remember(last_forwards, (input.shape, window), input, plan, call)
            return call(input)
    return _out_of_the_ordinary(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool1d(torch.nn.AvgPool1d):
    """`torch.nn.AvgPool1d` that calls `avg_pool1d`: same arguments, attributes and state."""

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, L) or (C, L) to (N, C, L_out) or (C, L_out)."""
        if is_scripting():
            return torch_avg_pool1d(
                input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
            )
        return avg_pool1d(
            input, _number(self.kernel_size), _number(self.stride), _number(self.padding),
            self.ceil_mode, self.count_include_pad,
        )  # fmt: skip


def _number(value: Any) -> Any:
    """Unpack a tuple or list of one int; leave everything else as it is."""
    is_packed = isinstance(value, tuple | list) and len(value) == 1 and type(value[0]) is int
    return value[0] if is_packed else value


def _out_of_the_ordinary(
    input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any
) -> Tensor:
    """Serve a call that is not an ordinary one."""
    numbers = _number(kernel_size), _number(stride), _number(padding)
    if any(number is not value for number, value in zip(numbers, (kernel_size, stride, padding), strict=True)):
        kernel_size, stride, padding = numbers
        return avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if is_only_dispatched():
        return _traced(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    return torch_avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _traced(input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any) -> Tensor:
    """Call the registered op if it can serve, else torch's own. Dynamo traces this function: plain tests only."""
    kernel_size, stride, padding = _number(kernel_size), _number(stride), _number(padding)
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


def _pool_backward(grad: Tensor, length: int, arguments: Arguments) -> Tensor:
    """Return the gradient of the input, of `length` columns, from that of the output."""
    if _is_compiling():
        return torch.ops.tunedb.avg_pool1d_backward(grad, length, *arguments)  # type: ignore[no-any-return]
    if grad.__class__ is Tensor:
        key = (grad.shape, length, arguments)
        last = _last_backward(key)
        if last is not None and last[0](grad):
            return last[1](grad)
        plan = backward_plan(grad, length, Window(*arguments)) if is_ordinary(grad) else None
        if plan is not None:
            call = backward_with_graph(plan) if grad.requires_grad and _is_grad_enabled() else plan.launch
            remember(last_backwards, key, grad, plan, call)
            return call(grad)
    if dispatch_modes():
        return torch.ops.tunedb.avg_pool1d_backward(grad, length, *arguments)  # type: ignore[no-any-return]
    return torch_backward(grad, length, Window(*arguments))


# A function of its own for each plan: what it needs is then neither one more input nor an attribute of each call.


def forward_with_graph(plan: Plan) -> Call:
    """Return the plan's launch that also builds the graph."""
    if plan.with_graph is None:
        launch, length, arguments = plan.launch, plan.length, arguments_of(plan.window)

        class AvgPool1d(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, x: Tensor) -> Tensor:
                return launch(x)

            @staticmethod
            def backward(_: Any, grad: Tensor) -> Tensor:
                return _pool_backward(grad, length, arguments)

        plan.with_graph = _apply_of(AvgPool1d)
    return plan.with_graph


def backward_with_graph(plan: Plan) -> Call:
    """Return the launch of a plan for a gradient that also builds the graph, for second derivatives."""
    if plan.with_graph is None:
        launch, arguments = plan.launch, arguments_of(plan.window)

        class AvgPool1dBackward(torch.autograd.Function):
            @staticmethod
            def forward(_: Any, grad: Tensor) -> Tensor:
                return launch(grad)

            @staticmethod
            def backward(_: Any, grad: Tensor) -> Tensor:
                return avg_pool1d(grad, *arguments)

        plan.with_graph = _apply_of(AvgPool1dBackward)
    return plan.with_graph


def _apply_of(function: type[torch.autograd.Function]) -> Call:
    """Return `apply` without the Python that torch puts before it for its transforms: an ordinary call is in none."""
    return super(torch.autograd.Function, function).apply  # type: ignore[misc,no-any-return]
