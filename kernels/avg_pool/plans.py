"""Plans: the tuned kernel, compiled and loaded, for each kind of call that was made before.

The key of a plan holds all that its kernel was specialised on: device, shape, strides, dtype, the address modulo 16
(Triton specialises pointers on it), and the window. The current stream and Triton's launch hooks are read at each
launch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from tunedb._internal.control import let_pass
from tunedb.core.kernel import RegisteredKernel
from tunedb.core.problem import Config, Problem
from tunedb.decorator.recording import call_log
from tunedb.errors import HostFaultError, TrialError
from tunedb.runtime.compat_torch import fast_allocator
from tunedb.runtime.compile_job import preload_aside
from tunedb.runtime.current_device import device_of
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import LoadedKernel, load
from tunedb.tuner import session
from tunedb.tuner.border import guarded

from ..geometry import Window
from . import jit, launch
from .eager import is_supported
from .problem import Pool
from .tunable import BACKWARD, FORWARD

_log = logging.getLogger("tunedb")

MAX_PLANS = 4096  # plans per direction: a call with one more kind empties the table

_forward_plans: dict[Any, Plan | Literal[False]] = session.new_plans()
_backward_plans: dict[Any, Plan | Literal[False]] = session.new_plans()
_warned_of: set[str] = set()


class Plan:
    """A loaded kernel for one kind of call: calling the plan allocates the output and launches."""

    __slots__ = ("allocate", "dtype", "index", "length", "run", "shape", "strides", "window")

    def __init__(self, loaded: LoadedKernel, index: int, out: Tensor, length: int, window: Window) -> None:
        self.run, self.length, self.window = loaded.run, length, window
        self.allocate = fast_allocator() if loaded.kernel is not None and out.is_cuda else None
        self.shape, self.strides, self.dtype = tuple(out.shape), out.stride(), out.dtype
        self.index = index if index >= 0 and torch.cuda.device_count() > 1 else None  # None: no device to switch to

    def __call__(self, tensor: Tensor) -> Tensor:
        if self.index is not None and torch.cuda.current_device() != self.index:
            with torch.cuda.device(self.index):
                return self(tensor)
        if self.allocate is not None:
            out = self.allocate(self.shape, self.strides, self.dtype)
            self.run(tensor.data_ptr(), out.data_ptr())
            return out
        out = torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=tensor.device)
        self.run(tensor, out)
        return out


def forward_plan(x: Tensor, window: tuple[int, int, int, bool, bool]) -> Plan | None:
    """Return the plan for this kind of call; None if torch has to serve it."""
    key = _key(x, window)
    plan = _forward_plans.get(key)
    if plan is not None:
        return plan or None
    pooled = Window(*window)
    if key is None or not is_supported(x, pooled) or not _can_launch(x, FORWARD.name):
        return None
    since = session.generation()
    out = launch.empty_output(x, pooled)
    problem = Pool.of_input(x, pooled).forward_problem()
    call_log.record_problem(FORWARD.name, jit.avg_pool1d_forward_kernel, problem.key, x)
    bound = _bind(FORWARD, problem, x, lambda config: launch.forward_launch(x, out, pooled, config))
    return _remember(_forward_plans, key, since, bound, out, x.shape[-1], pooled)


def backward_plan(grad: Tensor, length: int, window: Window) -> Plan | None:
    """Return the plan for this kind of gradient; None if torch has to serve it."""
    key = _key(grad, (length, window))
    plan = _backward_plans.get(key)
    if plan is not None:
        return plan or None
    if key is None or not _can_launch(grad, BACKWARD.name):
        return None
    since = session.generation()
    out = launch.empty_grad_input(grad, length)
    problem = Pool.of_grad(grad, length, window).backward_problem()
    call_log.record_problem(BACKWARD.name, jit.avg_pool1d_backward_kernel, problem.key, grad)
    bound = _bind(BACKWARD, problem, grad, lambda config: launch.backward_launch(grad, out, window, config))
    return _remember(_backward_plans, key, since, bound, out, length, window)


def _key(tensor: Tensor, window: Any) -> tuple[Any, ...] | None:
    """Return all that a compiled kernel is specialised on; None for a tensor without strides or memory of its own."""
    try:
        address = tensor.data_ptr()
        if address == 0:  # an empty tensor, one resized to nothing, or a zero without storage
            return None
        return tensor.get_device(), tensor.shape, tensor.stride(), tensor.dtype, address % 16, window
    except RuntimeError as error:  # sparse, nested, batched
        let_pass(error)
        return None


def _can_launch(tensor: Tensor, name: str) -> bool:
    aligned = tensor.data_ptr() % tensor.element_size() == 0
    return aligned and tensor.numel() > 0 and not _is_capturing(tensor, name)


class _Bound(NamedTuple):
    """A loaded kernel for a call; None if torch has to serve it. If it is not final, the next call asks again."""

    loaded: LoadedKernel | None
    is_final: bool


def _bind(kernel: RegisteredKernel, problem: Problem, tensor: Tensor, describe: Callable[[Config], Launch]) -> _Bound:
    """Load the chosen config's kernel for good, or for this call the default's if tunedb itself fails."""
    index = tensor.get_device()

    def chosen() -> _Bound:
        if index >= 0:
            preload_aside()
        _, loaded = session.active().bind(kernel, problem, index, lambda config: load(describe(config)))
        loaded.keep()
        return _Bound(loaded, is_final=True)

    def default() -> _Bound:
        loaded = load(describe(kernel.default(problem, device_of(index))))
        loaded.keep()
        return _Bound(loaded, is_final=False)

    def torchs_own() -> _Bound:  # if Python is ending, not even the default can be found
        return _Bound(None, is_final=False)

    with torch.cuda.device(index):  # of -1, the CPU: no change
        try:
            return guarded(kernel.name, chosen, lambda: guarded(kernel.name, default, torchs_own))
        except (TrialError, HostFaultError) as error:
            _log.warning("%s (%s) does not launch (%s); using torch's own function.", kernel.name, problem, str(error))
            # A fault of this machine may not last, nor an error of the launch.
            return _Bound(None, is_final=isinstance(error, TrialError) and error.status != "runtime_error")


def _remember(
    plans: dict[Any, Plan | Literal[False]],
    key: tuple[Any, ...],
    since: int,
    bound: _Bound,
    out: Tensor,
    length: int,
    window: Window,
) -> Plan | None:
    """Keep the plan; or keep False, which means that the kernel can't be launched and torch serves the call.

    Nothing is kept if the settings changed since the call began: the plan was made under the old ones.
    """
    plan: Plan | Literal[False] = False if bound.loaded is None else Plan(bound.loaded, key[0], out, length, window)
    if bound.is_final and since == session.generation():
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plans[key] = plan
    return plan or None


def _is_capturing(tensor: Tensor, name: str) -> bool:
    """Say whether a CUDA graph is being captured: nothing can be loaded then, so torch's own op is captured."""
    if not tensor.is_cuda:
        return False
    with torch.cuda.device(tensor.device):
        if not torch.cuda.is_current_stream_capturing():
            return False
    if name not in _warned_of:
        _warned_of.add(name)
        _log.warning(
            "%s: no such call was made before the capture, so torch's own op is captured. To capture the tuned "
            "kernel, call it once with these shapes before the capture.", name,
        )  # fmt: skip
    return True
