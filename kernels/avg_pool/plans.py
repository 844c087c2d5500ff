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
from tunedb.runtime.compat_torch import fast_allocator, likeness
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

Call = Callable[[Tensor], Tensor]
Last = tuple[Callable[[Any], bool], Call]  # whether a tensor is like that of the last call; what it ran

_forward_plans: dict[Any, Plan | Literal[False]] = session.new_plans()
_backward_plans: dict[Any, Plan | Literal[False]] = session.new_plans()
# The last call of each shape and window: one test takes the place of a plan's key and of what has to be known before.
last_forwards: dict[Any, Last] = session.new_plans()
last_backwards: dict[Any, Last] = session.new_plans()
_warned_of: set[str] = set()


class Plan:
    """A loaded kernel for one kind of call: `launch(tensor)` allocates the output, `fill(tensor, out)` takes one.

    `with_graph` is what a call runs instead that needs a gradient; None until there is one.
    """

    __slots__ = ("alike", "fill", "launch", "length", "run", "since", "strides", "window", "with_graph")

    def __init__(self, loaded: LoadedKernel, index: int, out: Tensor, length: int, window: Window) -> None:
        self.length, self.window = length, window
        allocate = fast_allocator() if loaded.kernel is not None and out.is_cuda else None
        self.run = loaded.run if allocate is not None else None  # by addresses, on the current device
        self.strides = out.stride()
        self.launch, self.fill = _launchers(loaded.run, out, allocate)
        if index >= 0 and torch.cuda.device_count() > 1:
            self.launch, self.fill = _on_device(index, self.launch), _on_device(index, self.fill)
        self.with_graph: Call | None = None
        self.since: int | None = None  # the tables' generation in which the plan was kept; None if it was not
        self.alike: dict[Call, Last] = {}

    def keep_in(self, table: dict[Any, Any], key: Any, what: Any) -> None:
        """Keep something of the plan in a table for as long as the plan itself is kept."""
        if self.since is None:
            return
        if len(table) >= MAX_PLANS:
            table.clear()
        table[key] = what
        if self.since != session.generation():  # another thread has emptied the tables in the meantime
            table.pop(key, None)


def _launchers(run: Any, like: Tensor, allocate: Any) -> tuple[Call, Callable[[Tensor, Tensor], None]]:
    """Return `launch` and `fill` for outputs like that one, by address if they can be allocated so."""
    shape, strides, dtype = tuple(like.shape), like.stride(), like.dtype

    def launch_by_address(tensor: Tensor) -> Tensor:
        out: Tensor = allocate(shape, strides, dtype)
        run(tensor.data_ptr(), out.data_ptr())
        return out

    def launch(tensor: Tensor) -> Tensor:
        out = torch.empty_strided(shape, strides, dtype=dtype, device=tensor.device)
        run(tensor, out)
        return out

    def fill(tensor: Tensor, out: Tensor) -> None:
        address = out.data_ptr()
        if address % 16 or out.stride() != strides:  # not what the kernel was compiled for
            out.copy_(launch(tensor))
        elif allocate is None:
            run(tensor, out)
        else:
            run(tensor.data_ptr(), address)

    return launch if allocate is None else launch_by_address, fill


def _on_device(index: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that makes its device the current one if it is not."""

    def switching(*tensors: Tensor) -> Any:
        if torch.cuda.current_device() == index:
            return function(*tensors)
        with torch.cuda.device(index):
            return function(*tensors)

    return switching


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


def remember(last: dict[Any, Last], key: Any, tensor: Tensor, plan: Plan, call: Call) -> None:
    """Remember what of a plan the call runs, as the last one of its shape and window."""
    known = plan.alike.get(call)
    if known is None or not known[0](tensor):  # not if a call of another state, such as inference mode, made it
        known = plan.alike[call] = likeness(tensor), call
    plan.keep_in(last, key, known)


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
        if plan:
            plan.since = since
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
