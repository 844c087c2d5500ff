"""torch's private names, each with what happens in a torch that lacks it.

Everything here is resolved once, at import, so that a repeated call pays nothing for it. A state of torch that can't
be read counts as active: the call then goes to torch's own function, which is always right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tunedb._internal.control import let_pass, suppress


def _private(module: str, name: str, fallback: Any) -> Any:
    """Return the object of that name in a module, or the fallback if this torch lacks either."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return fallback


def _is_scripted_trace() -> bool | None:
    return True if torch.jit.is_tracing() else None  # type: ignore[attr-defined, no-untyped-call]


# What torch is doing around a call, which makes all these tests in about a microsecond.
function_modes: Callable[[], int] = _private("torch._C", "_len_torch_function_stack", lambda: 1)
dispatch_modes: Callable[[], int] = _private("torch._C", "_len_torch_dispatch_stack", lambda: 1)
functorch_level: Callable[[], Any] = _private("torch._C._functorch", "peek_interpreter_stack", lambda: "unknown")
tracing_state: Callable[[], Any] = _private("torch._C", "_get_tracing_state", _is_scripted_trace)
# The object whose `_current_level` is at least 0 inside a forward-mode level.
_forward_ad: Any = forward_ad if hasattr(forward_ad, "_current_level") else SimpleNamespace(_current_level=0)
_function_mode_stack: Callable[[], list[Any]] = _private(
    "torch.overrides", "_get_current_function_mode_stack", lambda: [None]
)
_DeviceContext: type = _private("torch.utils._device", "DeviceContext", type("Unknown", (), {}))
_functorch_depth: Callable[[], Any] = _private("torch._C._functorch", "maybe_current_level", functorch_level)
# What Dynamo keeps while it traces; None if it does not. Torch 2.11 says meanwhile that it compiles nothing.
_tracing_context: Callable[[], Any] = _private(
    "torch._guards", "TracingContext", SimpleNamespace(try_get=lambda: None)
).try_get
_below_autograd: Any = _private("torch._C", "_AutoDispatchBelowAutograd", None)
_TensorGuards: Any = _private("torch._C._dynamo.guards", "TensorGuards", None)


def is_compiling() -> bool:
    """Say whether torch compiles code, or has just begun to: also while it reads what that code refers to."""
    return torch.compiler.is_compiling() or _tracing_context() is not None


def eager_test(*, on_cpu: bool) -> Callable[[Any], bool]:
    """Return `is_ordinary(tensor)`: whether this is a plain tensor, on a GPU or with `on_cpu` the CPU, in a plain call.

    Such a call can be served by a launch on the tensor's address. A dual tensor, for one, has an address and a plain
    type too: a launch would drop its tangent silently.
    """
    parameter = torch.nn.Parameter

    def is_ordinary(tensor: Any) -> bool:
        kind = type(tensor)
        return (
            (kind is Tensor or kind is parameter)
            and (tensor.is_cpu if on_cpu else tensor.is_cuda)
            and (not function_modes() or _is_default_device())
            and not dispatch_modes()
            and functorch_level() is None
            and _forward_ad._current_level < 0
            and not tensor.is_neg()
            and tracing_state() is None
        )

    return is_ordinary


def likeness(tensor: Tensor) -> Callable[[Any], bool]:
    """Return `is_alike(other)` for a tensor that `is_ordinary`: whether `other` is as ordinary, and just like this one.

    Alike are class, device, dtype, sizes, strides, the address modulo 16, and whether a graph is to be built. It is the
    test that Dynamo makes before compiled code: one call for all of that, and for the modes that torch's dispatcher
    sees. Nothing is alike in a torch without it.
    """
    if _TensorGuards is None:
        return lambda _: False
    is_guarded = _TensorGuards(tensor, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
    offset = tensor.data_ptr() % 16
    requires_grad, is_grad_enabled = tensor.requires_grad, torch.is_grad_enabled
    builds_graph = is_grad_enabled()

    def is_alike(other: Any) -> bool:
        if (
            is_guarded(other)
            and not function_modes()
            and _forward_ad._current_level < 0
            and (not requires_grad or is_grad_enabled() is builds_graph)
        ):
            address: int = other.data_ptr()
            return address % 16 == offset and address != 0
        return False

    _hide_from_dynamo(is_alike)
    return is_alike


def _hide_from_dynamo(function: Any) -> None:
    """Have Dynamo leave a function alone that it can't trace, when it compiles what an uncompiled function calls.

    As `torch.compiler.disable` does, which loads Dynamo. In a torch without these names it tries, and warns.
    """
    with suppress(Exception):  # costs time only
        from torch._C._dynamo import eval_frame

        skip = eval_frame._FrameExecStrategy(eval_frame._FrameAction.SKIP, eval_frame._FrameAction.DEFAULT)
        eval_frame.set_code_exec_strategy(function.__code__, skip)


def _is_default_device() -> bool:
    """Say whether all torch-function modes are `torch.set_default_device`'s, which don't change a call on a tensor."""
    return all(isinstance(mode, _DeviceContext) for mode in _function_mode_stack())


def is_only_dispatched() -> bool:
    """Say whether dispatch modes are all that is active: they see registered ops."""
    return (
        bool(dispatch_modes())
        and not function_modes()
        and functorch_level() is None
        and _forward_ad._current_level < 0
        and tracing_state() is None
    )


def is_transformed() -> bool:
    """Say whether a torch.func transform or a forward-mode level is active: an autograd.Function can't serve these."""
    return _forward_ad._current_level >= 0 or _functorch_depth() is not None


def call_below_autograd(op: Callable[..., Tensor], implementation: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call an op past its autograd kernel; if this torch can't, its implementation, which dispatch modes don't see."""
    if _below_autograd is None:
        return implementation(*arguments)
    with _below_autograd():
        return op(*arguments)


@functools.cache
def fast_allocator() -> Callable[[Any, Any, torch.dtype], Tensor] | None:
    """Return Inductor's function to allocate on the current GPU, at half the cost of `torch.empty_strided`.

    Returns None in a torch without it. It is tried once; it takes tuples and nothing else, not even a `torch.Size`.
    """
    try:
        from torch._C._dynamo.guards import _empty_strided_cuda  # type: ignore[attr-defined]

        _empty_strided_cuda((1,), (1,), torch.float32)
    except (ImportError, RuntimeError, TypeError) as error:
        let_pass(error)
        return None
    return _empty_strided_cuda  # type: ignore[no-any-return]


def _refuse(condition: Any, message: Callable[[], str]) -> None:
    if not condition:
        raise RuntimeError(message())


# `check(condition, message)` raises RuntimeError, also for a condition on symbolic sizes.
check: Callable[[Any, Callable[[], str]], None] = _private("torch", "_check", _refuse)


def _launch_late(cycles: int) -> None:
    """Do nothing: events then show which launches the host issued late, and the shortest of those count."""


# `spin(cycles)` keeps the current stream busy for that many cycles of the GPU's clock.
spin: Callable[[int], None] = _private("torch.cuda", "_sleep", _launch_late)


def mark_constant(function: Any) -> None:
    """Have Dynamo call a function while it traces and take its result as a constant.

    As `torch.compiler.assume_constant_result` does, which loads Dynamo.
    """
    function._dynamo_marked_constant = True
