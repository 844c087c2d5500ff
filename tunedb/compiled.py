"""Compile a kernel for a target, load it, launch it, and read its registers and spills.

The only file that touches Triton's private API, which moves from version to version. Where a Triton does not have
what is used here, a launch falls back to the public `kernel[grid](...)`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.compiler.errors import CompilationError
from triton.runtime import JITFunction, driver
from triton.runtime.errors import OutOfResources, PTXASError

from tunedb.errors import CallerError, StickyDeviceError, TrialError
from tunedb.tunable import Resources

# Fixed by us, because Triton 3.9 warns where it is left open and 3.10 changes its default.
_FUSION = {"enable_fp_fusion": True}

# CUDA's words for errors after which nothing runs in the process any more.
_STICKY = ("illegal memory access", "misaligned address", "unspecified launch failure", "illegal instruction",
           "device-side assert", "hardware stack error", "launch timed out", "context is destroyed")  # fmt: skip

# A compiled kernel that served a caller is kept until the process ends: from Triton 3.9 on, a dropped one unloads its
# module, also under a CUDA graph that was captured with it.
_KEPT: dict[int, Any] = {}
_first_use = threading.Lock()

_MISCOUNTED, _TRIES = "AST constructor recursion depth mismatch", 5


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


def make_table(jit: Any) -> None:
    """Make the table of a jit function's compiled kernels for the current device, which is made at the first use.

    Two threads would each make their own. An unknown Triton has none.
    """
    with _first_use, contextlib.suppress(AttributeError, LookupError, TypeError):
        jit.device_caches[driver.active.get_current_device()]


def warmed(stack: Any, arguments: Sequence[Any], grid: tuple[int, ...], keywords: Mapping[str, Any]) -> Any:
    """Triton's compiled kernel for such a launch, not loaded yet; None where a hook for compiled code took it."""
    kernel = _parsing(functools.partial(stack.warmup, *arguments, grid=grid, **keywords))
    return kernel.result() if hasattr(kernel, "result") else kernel


def _parsing(work: Callable[[], Any]) -> Any:
    """What `work` returns, which parses sources. Before Python 3.13 that can fail where two threads do so at once.

    They share the count of a recursion's depth (python/cpython#106905): it says nothing about the kernel.
    """
    for _ in range(_TRIES):
        try:
            return work()
        except Exception as error:
            if not any(_MISCOUNTED in str(one) for one in _chain(error)):
                raise
    return work()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it: Triton wraps one for each function of the kernel that calls the next."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
    go, flags = _unhooked(start, packed)

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


def _unhooked(start: Any, packed: Any) -> tuple[Callable[..., None], tuple[Any, ...]]:
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


@dataclass(frozen=True, slots=True)
class Binary:
    """A kernel compiled for a GPU that need not be here."""

    resources: Resources
    asm: Mapping[str, Any]  # Triton's stages, such as "ttgir", "ptx", "cubin"


def compile_for(launch: Launch, arch: int) -> Binary:
    """Compile for CUDA compute capability `arch` (89: RTX 4090, 90: H100 and H200). No GPU is needed.

    The launch's tensors may be on the CPU: only their dtype and alignment count. Raises TrialError.
    """
    target = GPUTarget("cuda", arch, 32)
    backend = make_backend(target)
    with typed_errors():
        binder = triton.runtime.jit.create_function_from_signature(launch.jit.signature, launch.jit.params, backend)
        keywords = launch.keywords | {"debug": False}
        bound, specialization, given = binder(*launch.arguments, **keywords)
        options, signature, constants, attributes = launch.jit._pack_args(
            backend, keywords, bound, specialization, given
        )
        source = ASTSource(launch.jit, signature, constants, attributes)
        kernel = _parsing(functools.partial(triton.compile, source, target=target, options=options.__dict__))
    registers, spills = _resource_usage(kernel.asm["cubin"])
    return Binary(Resources(registers, spills, kernel.metadata.shared), kernel.asm)


def _resource_usage(cubin: bytes) -> tuple[int, int]:
    """Registers per thread, and 32-bit registers spilled to local memory, as `cuobjdump` reads them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(_cuobjdump()), "--dump-resource-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    usage = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text))
    return int(usage["REG"]), max(int(usage.get("STACK", 0)), int(usage.get("LOCAL", 0))) // 4


@functools.cache
def _cuobjdump() -> Path:
    return Path(knobs.nvidia.cuobjdump.path)
