"""The registered ops `tunedb::avg_pool1d` and `tunedb::avg_pool1d_backward`, which traced code calls.

`torch.compile`, `torch.export`, `make_fx` and dispatch modes see each as a single op, with a fake for shapes, a
gradient and a rule for vmap. Eager calls, and code that Inductor generates, do not use them: torch's dispatcher takes
five microseconds more than a plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d as torch_avg_pool1d

from tunedb.runtime.compat_inductor import lower_to_calls
from tunedb.runtime.compat_torch import call_below_autograd, check, dispatch_modes, is_transformed
from tunedb.tuner import session

from ..geometry import Window
from . import launch
from .eager import INTERPRETED
from .plans import Plan, backward_plan, forward_plan

Arguments = tuple[int, int, int, bool, bool]

_WINDOW = "int kernel_size, int stride, int padding, bool ceil_mode, bool count_include_pad"

_library = torch.library.Library("tunedb", "DEF")
_library.define(f"avg_pool1d(Tensor input, {_WINDOW}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
_library.define(
    f"avg_pool1d_backward(Tensor grad, SymInt length, {_WINDOW}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)


def arguments_of(window: Window) -> Arguments:
    """Return the window as the arguments of the ops."""
    return (window.kernel_size, window.stride, window.padding, window.ceil_mode, window.count_include_pad)


def torch_backward(grad: Tensor, length: int, window: Window) -> Tensor:
    """Return torch's own gradient of the input, (..., length), for what the kernel does not serve."""
    like = grad.new_empty(()).expand(*grad.shape[:-1], 1, length)  # only its shape is read
    gradient: Tensor = torch.ops.aten.avg_pool2d_backward(
        grad.unsqueeze(-2),
        like,
        (1, window.kernel_size),
        (1, window.stride),
        (0, window.padding),
        window.ceil_mode,
        window.count_include_pad,
        None,
    )
    return gradient.squeeze(-2)


def _forward(x: Tensor, *window: Any) -> Tensor:
    plan = forward_plan(x, window) if x.is_cuda or INTERPRETED else None
    return torch_avg_pool1d(x, *window) if plan is None else plan.launch(x)


def _backward(grad: Tensor, length: int, *window: Any) -> Tensor:
    plan = backward_plan(grad, length, Window(*window)) if grad.is_cuda or INTERPRETED else None
    return torch_backward(grad, length, Window(*window)) if plan is None else plan.launch(grad)


# What Inductor's code calls in place of an op: see `lower_to_calls`. Code that is kept on disk calls it too, so its
# arguments must not change. It asks nothing of a tensor that was known when the code was generated.

Form = tuple[Any, ...]


def _make_into(plan_of: Callable[..., Plan | None], serve: Callable[..., Tensor]) -> Callable[..., None]:
    """Return the function that calls an op's kernel, or else `serve`, with an output of the caller's."""
    loaded: dict[Form, Callable[[int, int], None]] = session.new_plans()

    def into(memory: Tensor, form: Form, *, out: Tensor) -> None:
        run = loaded.get(form)
        if run is not None:
            read, written = memory.data_ptr(), out.data_ptr()
            if not (read | written) % 16:
                run(read, written)
                return
        shape, strides, _, _, *numbers = form
        tensor = memory.as_strided(shape, strides)
        plan = plan_of(tensor, *numbers) if tensor.is_cuda or INTERPRETED else None
        if plan is None:
            out.copy_(serve(tensor, *numbers))
            return
        plan.fill(tensor, out)
        if plan.run is not None and tensor.data_ptr() % 16 == 0 and out.stride() == plan.strides:
            plan.keep_in(loaded, form, plan.run)

    return into


def _forward_plan(x: Tensor, *window: Any) -> Plan | None:
    return forward_plan(x, window)


def _backward_plan(grad: Tensor, length: int, *window: Any) -> Plan | None:
    return backward_plan(grad, length, Window(*window))


def _serve_backward(grad: Tensor, length: int, *window: Any) -> Tensor:
    return torch_backward(grad, length, Window(*window))


def _fake_forward(x: Tensor, *window: Any) -> Tensor:
    lower_to_calls(_INTO)
    pooled = Window(*window)
    length = pooled.output_length(x.shape[-1])
    check(length >= 1, lambda: f"avg_pool1d: expected at least one window in a row of {x.shape[-1]}, got {length}")
    return launch.empty_output(x, pooled)


def _fake_backward(grad: Tensor, length: int, *_: Any) -> Tensor:
    lower_to_calls(_INTO)
    return launch.empty_grad_input(grad, length)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *window: Any) -> Tensor:
        ctx.length, ctx.window = x.shape[-1], window
        return call_below_autograd(torch.ops.tunedb.avg_pool1d, _forward, x, *window)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return torch.ops.tunedb.avg_pool1d_backward(grad, ctx.length, *ctx.window), *[None] * 5


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, length: int, *window: Any) -> Tensor:
        ctx.window = window
        return call_below_autograd(torch.ops.tunedb.avg_pool1d_backward, _backward, grad, length, *window)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return torch.ops.tunedb.avg_pool1d(grad, *ctx.window), *[None] * 6


def _is_plain(tensor: Tensor) -> bool:
    """Say whether only the launch is left to do, as in compiled code: no graph to build, no mode to ask."""
    return (
        type(tensor) is Tensor
        and not (tensor.requires_grad and torch.is_grad_enabled())
        and not dispatch_modes()
        and not tensor.is_neg()
    )


def _differentiable_forward(x: Tensor, *window: Any) -> Tensor:
    if is_transformed():
        return torch_avg_pool1d(x, *window)
    if _is_plain(x):
        return _forward(x, *window)
    lower_to_calls(_INTO)
    return _Forward.apply(x, *window)  # type: ignore[no-any-return,no-untyped-call]


def _differentiable_backward(grad: Tensor, length: int, *window: Any) -> Tensor:
    if is_transformed():
        return torch_backward(grad, length, Window(*window))
    if _is_plain(grad):
        return _backward(grad, length, *window)
    return _Backward.apply(grad, length, *window)  # type: ignore[no-any-return,no-untyped-call]


def _over_batch(op: Any, tensor: Tensor, batched_at: int, numbers: tuple[Any, ...]) -> tuple[Tensor, int]:
    """Apply the op to one more batch dimension: rows are independent, so it joins the first one, or becomes it."""
    moved = tensor.movedim(batched_at, 0)
    pooled = op(moved.reshape(-1, *moved.shape[-2:]), *numbers)
    return pooled.reshape(*moved.shape[:-1], pooled.shape[-1]), 0


_INTO: dict[Any, str] = {}
for _name, _plan_of, _serve in (
    ("avg_pool1d", _forward_plan, torch_avg_pool1d),
    ("avg_pool1d_backward", _backward_plan, _serve_backward),
):
    _op = getattr(torch.ops.tunedb, _name)
    _op.into = _make_into(_plan_of, _serve)  # generated code finds it there: it imports torch, and has used the op
    _INTO[_op.default] = f"torch.ops.tunedb.{_name}.into"

for _name, _run, _fake, _differentiable in (
    ("avg_pool1d", _forward, _fake_forward, _differentiable_forward),
    ("avg_pool1d_backward", _backward, _fake_backward, _differentiable_backward),
):
    _op = getattr(torch.ops.tunedb, _name)
    _library.impl(_name, _run, "CUDA")
    _library.impl(_name, _run, "CPU")
    torch.library.register_fake(f"tunedb::{_name}", _fake, lib=_library)
    _library.impl(_name, _differentiable, "Autograd")
    torch.library.register_vmap(
        f"tunedb::{_name}",
        lambda info, dims, tensor, *numbers, op=_op: _over_batch(op, tensor, dims[0], numbers),  # noqa: ARG005
        lib=_library,
    )
