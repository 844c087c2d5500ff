"""Kernels compiled and loaded on the current device, whose launches skip what Triton does again at each call."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunedb._internal.control import let_pass
from tunedb.core.kernel import Resources
from tunedb.runtime import compat_triton
from tunedb.runtime.compat_triton import is_interpreted, jit_of
from tunedb.runtime.compile_cache import compiling
from tunedb.runtime.compile_job import CompileJob, parsing, preloaded
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.launch import Launch

# A compiled kernel that served a caller is kept until the process ends: from Triton 3.9 on, a dropped one unloads its
# module, also under a CUDA graph that was captured with it.
_KEPT: dict[int, Any] = {}


@dataclass(frozen=True, slots=True)
class LoadedKernel:
    """A kernel that is compiled and loaded on one device.

    `run` launches it on that device's current stream: one from `load` as `run(*tensors)`, because the grid and the
    numbers of its launch are fixed; one from `load_call` as `run(grid, *arguments)` with all arguments of the jit
    function in order, constexprs too. Everything that the kernel was specialised on (types, alignment, strides, the
    numbers' divisibility) must be the same. If there is a `kernel`, `run` also takes addresses in place of tensors,
    which spares Triton from asking the driver about each.

    `run` is None if the call must go through Triton. `watched` are the globals that were compiled in: scope, name and
    value; if one has changed, the call must go through Triton, which raises.
    """

    run: Any  # a function, or None
    resources: Resources
    kernel: Any = None  # Triton's compiled kernel; None for a launch through the public interface
    watched: tuple[tuple[dict[str, Any], str, Any], ...] = ()

    def keep(self) -> None:
        """Keep the kernel loaded until the process ends, because it is about to serve a caller."""
        if self.kernel is not None:
            _KEPT[id(self.kernel)] = self.kernel


# A launch that is spelled out, as our own kernels make it.


def load(launch: Launch) -> LoadedKernel:
    """Compile and load a launch on the current device. Raises TrialError with the reason, or StickyDeviceError."""
    if is_interpreted(launch.jit):
        return LoadedKernel(launch.repeater(), Resources())
    with typed_errors():
        kernel = _compiled(launch)
        try:
            if compat_triton.load_handles(kernel):
                resources = _resources(kernel, launch, kernel.n_regs, kernel.n_spills)
                run = compat_triton.launch_repeater(kernel, launch.grid, launch.rest)
                return LoadedKernel(run, resources, kernel)
        except AttributeError:  # an unknown Triton
            pass
    return LoadedKernel(launch.repeater(), Resources())


def prepare(launch: Launch) -> Resources:
    """Compile a launch for the current device without loading it, on any thread; `load` then finds it in the cache.

    Raises as `load` does. Nothing can stop a compile: if it may outlive the tensors, give it meta tensors.
    Several threads may prepare at once: Triton compiles in a context of its own each time, and releases Python's lock
    during its passes and the assembler.
    """
    if is_interpreted(launch.jit):
        return Resources()
    with typed_errors():
        compat_triton.make_device_cache(launch.jit)
        kernel = _compiled(launch)
        try:
            return _resources(kernel, launch)
        except AttributeError:  # an unknown Triton
            return Resources()


def compile_job(launch: Launch) -> CompileJob | None:
    """Return the job by which the compile worker compiles a launch for the current device, into the shared cache.

    Returns None if the worker can't: in the interpreter, for a kernel of the running script, in an unknown Triton, or
    if Triton's knobs bypass its cache or let a hook change its stages.
    """
    if is_interpreted(launch.jit) or launch.jit.fn.__module__ in ("__main__", "__mp_main__"):
        return None
    if not compat_triton.can_compile_elsewhere():
        return None
    try:
        return CompileJob.of(launch.jit, launch.arguments, launch.keywords, compat_triton.current_target())
    # An unknown Triton may raise anything. Nothing is lost: `prepare` then compiles here, and raises what is wrong.
    except Exception as error:
        let_pass(error)
        return None


def outline(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor without its memory: a compile reads only dtype, shape, strides and alignment."""
    extent = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    offset = tensor.data_ptr() % 16 // tensor.element_size()  # Triton specialises on a divisor of 16 bytes at most
    meta = torch.empty(offset + extent, dtype=tensor.dtype, device="meta")
    return meta.as_strided(tensor.shape, tensor.stride(), offset)


# A call of a decorated kernel. Errors pass unchanged: the decorator decides whose fault they are.


def load_call(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> LoadedKernel:
    """Compile and load the kernel of a call, on the current device, without launching. Raises what Triton raises."""
    jit = jit_of(stack)
    kernel = None if is_interpreted(jit) else compiled_kernel(stack, arguments, (1,), keywords)
    if kernel is None or not compat_triton.load_handles(kernel):
        return LoadedKernel(None, Resources(), kernel)
    try:
        resources = Resources(kernel.n_regs, kernel.n_spills, kernel.metadata.shared)
        watched = compat_triton.globals_of(jit)
        return LoadedKernel(compat_triton.call_launcher(kernel), resources, kernel, watched)
    except AttributeError:  # an unknown Triton
        return LoadedKernel(None, Resources(), kernel)


def prepare_call(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Compile the kernel of a call without loading it, on any thread; `load_call` then finds it in the cache.

    Raises what Triton raises. Does nothing for a kernel with hooks of its own, which would see the compile.
    """
    jit = jit_of(stack)
    if not is_interpreted(jit) and not compat_triton.hooks_of_jit(jit):
        compat_triton.make_device_cache(jit)
        compiled_kernel(stack, arguments, (1,), keywords)


def is_call_loaded(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """Say whether the kernel of a call is loaded on the current device. Compiles it if it is not compiled yet."""
    return compat_triton.is_loaded(compiled_kernel(stack, arguments, (1,), keywords))


def compiled_kernel(stack: Any, arguments: Sequence[Any], grid: tuple[int, ...], keywords: Mapping[str, Any]) -> Any:
    """Return Triton's compiled kernel for such a launch, not loaded yet; None if a hook for compiled code took it.

    Raises CompileRefused in mode `strict-compile`, if it is in no cache.
    """
    preloaded()
    with compiling(stack, arguments, keywords):
        kernel = parsing(functools.partial(stack.warmup, *arguments, grid=grid, **keywords))
    return kernel.result() if hasattr(kernel, "result") else kernel


def _compiled(launch: Launch) -> Any:
    return compiled_kernel(launch.jit, launch.arguments, launch.grid, launch.keywords)


def _resources(kernel: Any, launch: Launch, registers: int | None = None, spills: int | None = None) -> Resources:
    metadata = kernel.metadata
    threads = metadata.num_warps * metadata.target.warp_size
    numbers = [value for value in launch.arguments if not isinstance(value, torch.Tensor)]
    digest = hashlib.sha256(kernel.kernel)
    digest.update(repr((launch.grid, numbers, threads, metadata.shared, getattr(metadata, "num_ctas", 1))).encode())
    return Resources(registers, spills, metadata.shared, threads, digest.hexdigest())
