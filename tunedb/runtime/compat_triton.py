"""Triton's private and changing names, each with what happens in a Triton that lacks it. Loads no torch.

Everything here is resolved once, at import or when a kernel is loaded, so that a repeated call pays nothing for it.
Tested with Triton 3.6 to 3.8.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import triton
from triton import knobs
from triton.runtime import JITFunction, driver
from triton.runtime.autotuner import Heuristics

from tunedb._internal.control import suppress

runtime_knobs = knobs.runtime
compilation_knobs = knobs.compilation

# Whether this Triton has knobs that came after 3.6. Code that is generated for a call reads only those that exist.
HAS_STAGES_HOOK = hasattr(runtime_knobs, "add_stages_inspection_hook")
HAS_INSTRUMENTATION = hasattr(compilation_knobs, "instrumentation_mode")

# Knobs of `knobs.compilation` that a launch adds to its keywords, in the versions of Triton that have them.
_KNOBS_OF_A_LAUNCH = ("instrumentation_mode", "fpsan_homomorphic_casts")

_cache_lock = threading.Lock()


# The functions under decorators.


def is_interpreted(jit: Any) -> bool:
    """Say whether Triton runs this function in its interpreter, on the CPU."""
    return not isinstance(jit, JITFunction) and not hasattr(jit, "device_caches")


def jit_of(stack: Any) -> Any:
    """Return the jit function under a stack of decorators, which may be empty."""
    while not hasattr(stack, "add_pre_run_hook") and hasattr(stack, "fn"):
        stack = stack.fn
    return stack


def signature_of(jit: Any) -> inspect.Signature:
    """Return the signature of the Python function under a jit function, which the compiler's keeps."""
    signature = getattr(jit, "signature", None)
    return signature if isinstance(signature, inspect.Signature) else inspect.signature(jit.fn)


def heuristics_of(stack: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the names and functions of the heuristics in a stack of decorators, the outermost first."""
    while isinstance(stack, Heuristics):
        yield from stack.values.items()
        stack = stack.fn


def is_heuristics(layer: Any) -> bool:
    """Say whether a layer of a stack of decorators is Triton's heuristics."""
    return type(layer) is Heuristics


def is_tritons_own(method: Any) -> bool:
    """Say whether a method is Triton's own, and not a function that a program has put in its place.

    The `run` by which kernels are adopted counts as Triton's: it goes on to that.
    """
    scope = getattr(method, "__globals__", {})  # of a wrapper too: `functools.wraps` copies names, not this
    name = str(scope.get("__name__", ""))
    return name.partition(".")[0] == "triton" or name == "tunedb.adoption.patch"


def is_launch_replaced(stack: Any) -> bool:
    """Say whether anything in a stack of decorators, down to the jit function, has a `run` that is not Triton's."""
    while is_tritons_own(getattr(stack, "run", None)):
        if not hasattr(stack, "fn") or hasattr(stack, "add_pre_run_hook"):
            return False
        stack = stack.fn
    return True


# The driver. It is looked up at each use: Triton chooses it at the first use, which may fail without a GPU.


def current_device() -> int:
    """Return the index of the device on which Triton launches."""
    index: int = driver.active.get_current_device()
    return index


def device_getter() -> Callable[[], int]:
    """Return the driver's own function for `current_device`, for code that calls it often."""
    getter: Callable[[], int] = driver.active.get_current_device
    return getter


def current_target() -> Any:
    """Return what Triton compiles for on the current device, a `GPUTarget`."""
    return driver.active.get_current_target()


def make_device_cache(jit: Any) -> None:
    """Create a jit function's table of compiled kernels for the current device, which Triton does at the first use.

    Two threads would each create one, and one of them would be lost. Does nothing in a Triton without such tables.
    """
    with _cache_lock, contextlib.suppress(AttributeError, LookupError, TypeError):
        jit.device_caches[driver.active.get_current_device()]


# Compiling.


def specialize(
    jit: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], target: Any
) -> tuple[Mapping[str, str], Mapping[tuple[int, ...], Any], Mapping[tuple[int, ...], Any], Mapping[str, Any]]:
    """Return the signature, constants, attributes and options for which Triton would compile such a launch.

    Raises what an unknown Triton raises, often AttributeError or TypeError.
    """
    backend = triton.compiler.make_backend(target)
    binder = triton.runtime.jit.create_function_from_signature(jit.signature, jit.params, backend)
    added = {name: getattr(compilation_knobs, name, None) for name in _KNOBS_OF_A_LAUNCH}
    added = {name: value for name, value in added.items() if value is not None}
    keywords = {"debug": bool(jit.debug or runtime_knobs.debug), **added, **keywords}
    bound, specialization, options = binder(*arguments, **keywords)
    options, signature, constants, attributes = jit._pack_args(backend, keywords, bound, specialization, options)
    return signature, constants, attributes, dict(options.__dict__)


def triton_key() -> Callable[[], str]:
    """Return the function that computes Triton's hash of its own libraries, and keeps it. An unknown Triton: raises."""
    compiler = import_module("triton.compiler.compiler")
    found: Callable[[], str] = getattr(compiler, "triton_key", None) or import_module("triton.runtime.cache").triton_key
    return found


def hash_triton() -> None:
    """Compute Triton's hash of its own libraries, which it keeps. Does nothing in a Triton that hides it elsewhere."""
    with suppress(Exception):  # costs time only: the first compile then does it
        triton_key()()


def is_hashed() -> bool:
    """Say whether Triton has that hash; False if it does not say."""
    with suppress(Exception):  # an unknown Triton
        return bool(triton_key().cache_info().currsize)  # type: ignore[attr-defined]  # it is under functools' lru_cache
    return False


def can_compile_elsewhere() -> bool:
    """Say whether a kernel that another process put into Triton's cache is used: no knob bypasses the cache."""
    return not compilation_knobs.always_compile and getattr(runtime_knobs, "add_stages_inspection_hook", None) is None


def load_handles(kernel: Any) -> bool:
    """Load a compiled kernel on the current device. Returns False in a Triton in which only a launch can load it."""
    load = getattr(kernel, "_init_handles", None)
    if load is None:
        return False
    load()
    return True


def is_loaded(kernel: Any) -> bool:
    """Say whether a compiled kernel is loaded; False if Triton does not say."""
    return getattr(kernel, "module", None) is not None


def globals_of(jit: Any) -> tuple[tuple[dict[str, Any], str, Any], ...]:
    """Return a kernel's compiled globals: scope, name and value of each. Raises AttributeError in an unknown Triton."""
    return tuple((scope, name, value) for (name, _), (value, scope) in jit.used_global_vals.items())


# Launching. Both functions return Triton's own last step of a launch with everything before it done once, and raise
# AttributeError in a Triton whose compiled kernels look different.


def launch_repeater(kernel: Any, grid: tuple[int, int, int], rest: tuple[Any, ...]) -> Callable[..., None]:
    """Return `run(*tensors)` for one launch: the grid and the other arguments are fixed, launch hooks are called."""
    grid_x, grid_y, grid_z = grid
    function = kernel.function
    start, packed = kernel.run, kernel.packed_metadata
    step, flags = _hookless_step(kernel)
    fixed = (function, *flags)
    stream_of = driver.active.get_current_stream
    device_index = driver.active.get_current_device()
    runtime = runtime_knobs

    def run(*tensors: Any) -> None:
        try:
            has_listeners = runtime.launch_enter_hook.calls or runtime.launch_exit_hook.calls
        except AttributeError:  # a program has replaced a chain of hooks by a function, or by None
            has_listeners = True
        if has_listeners:
            stream, enter, leave = stream_of(device_index), runtime.launch_enter_hook, runtime.launch_exit_hook
            metadata = kernel.launch_metadata(grid, stream, *tensors, *rest)
            start(grid_x, grid_y, grid_z, stream, function, packed, metadata, enter, leave, *tensors, *rest)
        else:
            step(grid_x, grid_y, grid_z, stream_of(device_index), *fixed, *tensors, *rest)

    return run


def call_launcher(kernel: Any) -> Callable[..., None] | None:
    """Return `run(grid, *arguments)` for any grid and arguments; launch hooks are the caller's to look for.

    Returns None in a Triton without chains of launch hooks, and for backends other than CUDA: they specialise on more
    than the plans of decorated kernels look at.
    """
    if current_target().backend != "cuda" or not hasattr(runtime_knobs.launch_enter_hook, "calls"):
        return None
    function, (step, flags) = kernel.function, _hookless_step(kernel)
    stream_of = driver.active.get_current_stream
    device_index = driver.active.get_current_device()

    def run(grid: Sequence[int], *arguments: Any) -> None:
        count = len(grid)
        step(
            grid[0], grid[1] if count > 1 else 1, grid[2] if count > 2 else 1,
            stream_of(device_index), function, *flags, *arguments,
        )  # fmt: skip

    return run


def _hookless_step(kernel: Any) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Return the function that launches if no hook listens, and the arguments that it takes before the kernel's.

    In Triton 3.6 that is the C function behind `kernel.run`, if there is no scratch memory to allocate: the Python in
    front of it takes a microsecond of ten.
    """
    start, packed = kernel.run, kernel.packed_metadata
    scratch = getattr(start, "global_scratch_size", None), getattr(start, "profile_scratch_size", None)
    if triton.__version__.startswith("3.6.") and scratch == (0, 0):
        return start.launch, (start.launch_cooperative_grid, start.launch_pdl, None, None, packed, None, None, None)
    return start, (packed, None, None, None)


# Observers: hooks, debuggers and listeners that want to see launches, compilations or tunings.


def launch_hooks(when: str) -> Any:
    """Return the current chain of launch hooks (`enter` or `exit`).

    If a program has replaced the chain by something else, returns a chain that is never the current one.
    """
    chain = getattr(runtime_knobs, f"launch_{when}_hook")
    return chain if hasattr(chain, "calls") else SimpleNamespace(calls=())


def is_observed(jit: Any) -> bool:
    """Say whether anything observes each launch or compilation: a profiler, a debugger or the kernel's hooks."""
    return bool(
        getattr(runtime_knobs.launch_enter_hook, "calls", True)
        or getattr(runtime_knobs.launch_exit_hook, "calls", True)
        or hooks_of_jit(jit)
        or runtime_knobs.debug
        or getattr(runtime_knobs, "add_stages_inspection_hook", None)
        or getattr(compilation_knobs, "instrumentation_mode", "")
    )


def hooks_of_jit(jit: Any) -> Any:
    """Return the hooks that the jit function itself runs before each launch: a list that may grow later."""
    return getattr(jit, "pre_run_hooks", ())


def benchmark_of(autotuner: Any) -> Callable[..., Any] | None:
    """Return the benchmark function that was given to a Triton Autotuner; None if there is none."""
    assigned = vars(autotuner).get("do_bench")  # by the user, or by Triton, which keeps there what it uses
    benchmark: Callable[..., Any] | None = getattr(autotuner, "_do_bench", None)
    return benchmark if assigned is None or is_tritons_own(assigned) else assigned


def is_printing() -> bool:
    """Say whether TRITON_PRINT_AUTOTUNING, or its knob, asks for a line per config and result."""
    return bool(knobs.autotuning.print)


def tuning_listener() -> Callable[..., object] | None:
    """Return the function called after each tuning (`knobs.autotuning.listener`); None in a Triton without it."""
    listener: Callable[..., object] | None = getattr(knobs.autotuning, "listener", None)
    return listener
