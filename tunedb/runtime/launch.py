"""Compile a kernel for the current device, load it and launch it.

With `recipe.py` the only file that touches Triton's private API, which moves from version to version. Where a Triton
does not have what is used here, a launch falls back to the public `kernel[grid](...)`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton import knobs
from triton.compiler.errors import CompilationError
from triton.runtime import JITFunction, driver
from triton.runtime.errors import OutOfResources, PTXASError

from tunedb._internal import forks
from tunedb.core.kernel import Resources
from tunedb.errors import CallerError, StickyDeviceError, TrialError
from tunedb.runtime.compile_job import CompileJob, parsing, preloaded

# Fixed by us, because Triton 3.9 warns where it is left open and 3.10 changes its default.
_FUSION = {"enable_fp_fusion": True}

# CUDA's words for errors after which nothing runs in the process any more.
_STICKY = ("illegal memory access", "misaligned address", "unspecified launch failure", "illegal instruction",
           "device-side assert", "hardware stack error", "launch timed out", "context is destroyed")  # fmt: skip

# A compiled kernel that served a caller is kept until the process ends: from Triton 3.9 on, a dropped one unloads its
# module, also under a CUDA graph that was captured with it.
_KEPT: dict[int, Any] = {}
_first_use = threading.Lock()
_interpreter = threading.RLock()


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch, spelled out: the jit function, its grid, and its arguments in the order of its parameters.

    `arguments` are the tensors first and then the numbers; `constants` are the constexprs and `options` Triton's
    launch options, both by name.
    """

    jit: Any
    grid: tuple[int, int, int]
    arguments: tuple[Any, ...]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def keywords(self) -> dict[str, Any]:
        """What Triton takes by name."""
        return {**self.constants, **self.options, **_FUSION}

    def __call__(self) -> None:
        """Launch through Triton's public interface, on the current device and stream."""
        with turn(self.jit):
            self.jit[self.grid](*self.arguments, **self.keywords)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A launch that is compiled and loaded on one device. `run(*tensors)` repeats it with other tensors.

    Everything that the kernel was specialised on (types, alignment, strides, the numbers' divisibility) must be as it
    was. It runs on the current stream. Where there is a `kernel`, `run` takes addresses in the place of tensors too,
    which spares Triton from asking the driver about each.
    """

    run: Callable[..., None]
    resources: Resources
    kernel: Any = None  # Triton's compiled kernel; None for a launch through the public interface


def is_interpreted(jit: Any) -> bool:
    """Whether Triton runs this function in its interpreter, on the CPU."""
    return not isinstance(jit, JITFunction) and not hasattr(jit, "device_caches")


def turn(jit: Any) -> contextlib.AbstractContextManager[object]:
    """Around a launch: Triton's interpreter keeps the grid, and what it puts in the place of its language, in globals,
    so that there one thread launches at a time. Compiled kernels need no turn.
    """
    return _interpreter if is_interpreted(jit) else contextlib.nullcontext()


@forks.in_child
def _renew() -> None:
    global _interpreter
    _interpreter = threading.RLock()  # another thread of the parent may hold the old one


def load(launch: Launch) -> Loaded:
    """Compile and load on the current device. Raises TrialError with the reason, or StickyDeviceError."""
    if is_interpreted(launch.jit):
        return Loaded(_public_run(launch), Resources())
    with typed_errors():
        kernel = _compiled(launch)
        try:
            kernel._init_handles()
            resources = _resources(kernel, launch, kernel.n_regs, kernel.n_spills)
            run = _private_run(kernel, launch)
        except AttributeError:
            return Loaded(_public_run(launch), Resources())
    return Loaded(run, resources, kernel)


def outline(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without its memory: its dtype, shape, strides and alignment, which are all that `prepare` reads."""
    extent = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    offset = tensor.data_ptr() % 16 // tensor.element_size()  # Triton asks for no more than 16 bytes
    meta = torch.empty(offset + extent, dtype=tensor.dtype, device="meta")
    return meta.as_strided(tensor.shape, tensor.stride(), offset)


def prepare(launch: Launch) -> Resources:
    """Compile for the current device without loading, on any thread; `load` then finds it done.

    A compile can't be ended: one that may outlive its tensors is given their outlines.

    Raises as `load` does. Several threads may prepare at once: Triton compiles in a context of its own each time, and
    lets other threads run while its passes and the assembler do.
    """
    if is_interpreted(launch.jit):
        return Resources()
    with typed_errors():
        make_table(launch.jit)
        kernel = _compiled(launch)
        try:
            return _resources(kernel, launch)
        except AttributeError:
            return Resources()


def recipe(launch: Launch) -> CompileJob | None:
    """What another process needs to compile the launch for the current device, into the cache that both share.

    None where it can't: in the interpreter, for a kernel of the script that runs, with an unknown Triton, or where
    Triton is told not to use its cache, or to let somebody change its stages.
    """
    if is_interpreted(launch.jit) or launch.jit.fn.__module__ in ("__main__", "__mp_main__"):
        return None
    if knobs.compilation.always_compile or getattr(knobs.runtime, "add_stages_inspection_hook", None) is not None:
        return None
    try:
        return CompileJob.of(launch.jit, launch.arguments, launch.keywords, driver.active.get_current_target())
    # An unknown Triton may raise anything. Nothing is lost: `prepare` then compiles here, and raises what is wrong.
    except Exception:
        return None


def make_table(jit: Any) -> None:
    """Make the table of a jit function's compiled kernels for the current device, which is made at the first use.

    Two threads would each make their own. An unknown Triton has none.
    """
    with _first_use, contextlib.suppress(AttributeError, LookupError, TypeError):
        jit.device_caches[driver.active.get_current_device()]


def warmed(stack: Any, arguments: Sequence[Any], grid: tuple[int, ...], keywords: Mapping[str, Any]) -> Any:
    """Triton's compiled kernel for such a launch, not loaded yet; None where a hook for compiled code took it."""
    preloaded()
    kernel = parsing(functools.partial(stack.warmup, *arguments, grid=grid, **keywords))
    return kernel.result() if hasattr(kernel, "result") else kernel


def _compiled(launch: Launch) -> Any:
    return warmed(launch.jit, launch.arguments, launch.grid, launch.keywords)


def _resources(kernel: Any, launch: Launch, registers: int | None = None, spills: int | None = None) -> Resources:
    metadata = kernel.metadata
    threads = metadata.num_warps * metadata.target.warp_size
    numbers = [value for value in launch.arguments if not isinstance(value, torch.Tensor)]
    digest = hashlib.sha256(kernel.kernel)
    digest.update(repr((launch.grid, numbers, threads, metadata.shared, getattr(metadata, "num_ctas", 1))).encode())
    return Resources(registers, spills, metadata.shared, threads, digest.hexdigest())


def keep(loaded: Loaded) -> None:
    """Keep the kernel loaded until the process ends, because it is about to serve a caller."""
    keep_kernel(loaded.kernel)


def keep_kernel(kernel: Any) -> None:
    """`keep`, of Triton's compiled kernel."""
    _KEPT[id(kernel)] = kernel


def _public_run(launch: Launch) -> Callable[..., None]:
    runner = launch.jit[launch.grid]
    keywords = launch.keywords
    tensors = sum(isinstance(value, torch.Tensor) for value in launch.arguments)
    numbers = launch.arguments[tensors:]

    def run(*given: Any) -> None:
        with turn(launch.jit):
            runner(*given, *numbers, **keywords)

    return run


def _private_run(kernel: Any, launch: Launch) -> Callable[..., None]:
    """Triton's own last step of a launch, with all that came before it done once, here."""
    tensors = sum(isinstance(value, torch.Tensor) for value in launch.arguments)
    names = launch.jit.arg_names
    rest = (*launch.arguments[tensors:], *(launch.constants[name] for name in names[len(launch.arguments) :]))
    grid_x, grid_y, grid_z = launch.grid
    start, function, packed = kernel.run, kernel.function, kernel.packed_metadata
    stream_of = driver.active.get_current_stream
    device_index = driver.active.get_current_device()
    runtime = knobs.runtime
    grid = launch.grid
    go, flags = unhooked(start, packed)

    def run(*given: Any) -> None:
        stream = stream_of(device_index)
        enter, leave = runtime.launch_enter_hook, runtime.launch_exit_hook
        if getattr(enter, "calls", enter) or getattr(leave, "calls", leave):  # a profiler listens
            metadata = kernel.launch_metadata(grid, stream, *given, *rest)
            start(grid_x, grid_y, grid_z, stream, function, packed, metadata, enter, leave, *given, *rest)
        else:
            go(grid_x, grid_y, grid_z, stream, function, *flags, *given, *rest)

    return run


def is_sticky(error: BaseException) -> bool:
    """Whether these are CUDA's words for a context that is lost."""
    return any(words in f"{error} {error.__cause__}" for words in _STICKY)


def unhooked(start: Any, packed: Any) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """What launches where no hook listens, and its arguments between the function and the kernel's own.

    In Triton 3.6 that is the C function behind `start`, where there is no scratch memory to allocate: the Python in
    front of it takes a microsecond of ten.
    """
    scratch = getattr(start, "global_scratch_size", None), getattr(start, "profile_scratch_size", None)
    if triton.__version__.startswith("3.6.") and scratch == (0, 0):
        return start.launch, (start.launch_cooperative_grid, start.launch_pdl, None, None, packed, None, None, None)
    return start, (packed, None, None, None)


class typed_errors:  # noqa: N801 - reads as a statement: `with typed_errors():`
    """Turn what Triton and CUDA raise for one config into TrialError, and a lost context into StickyDeviceError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CallerError | TrialError | StickyDeviceError):
            return
        text = f"{type(error).__name__}: {error}".strip()[:2000]
        if error.__cause__ is not None:  # in a function that the kernel calls
            text += f" ({error.__cause__})"[:2000]
        if is_sticky(error):
            raise StickyDeviceError(text) from None
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return  # the sweep's own memory, not the config's doing
        if isinstance(error, OutOfResources):
            raise TrialError("out_of_resources", text) from None
        if isinstance(error, CompilationError | PTXASError) or "PassManager::run failed" in text:
            raise TrialError("compile_error", text) from None
        raise TrialError("runtime_error", text) from None
