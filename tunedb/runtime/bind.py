"""A kernel bound to one kind of call: compiled and loaded, with a launch that skips what Triton finds out each time.

With compiled.py the only file that touches Triton's private API. Where a Triton or a backend does not have what is
used here, `run` is None, and a launch goes through the public `kernel[grid](...)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from triton import knobs as knobs
from triton.runtime import driver
from triton.runtime.autotuner import Heuristics

from tunedb.core.kernel import Resources
from tunedb.runtime.launch import is_interpreted, keep_kernel, make_table, turn, unhooked, warmed


@dataclass(frozen=True, slots=True)
class Bound:
    """`run(grid, *arguments)` launches the kernel on the current stream of the device that it was loaded on.

    `arguments` are all of the jit function's in its order, constexprs too; in a tensor's place its address will do.
    All that the kernel was specialised on must be as it was. `watched` are the globals that were compiled in: scope,
    name and value; where one has changed, Triton has to be asked, which raises.
    """

    run: Callable[..., None] | None
    resources: Resources
    kernel: Any = None  # Triton's compiled kernel
    watched: tuple[tuple[dict[str, Any], str, Any], ...] = ()

    def keep(self) -> None:
        """Keep the kernel loaded until the process ends, because it is about to serve a caller."""
        if self.kernel is not None:
            keep_kernel(self.kernel)


def jit_of(stack: Any) -> Any:
    """The jit function under a stack of decorators; itself where there is none."""
    while not hasattr(stack, "add_pre_run_hook") and hasattr(stack, "fn"):
        stack = stack.fn
    return stack


def heuristics_of(stack: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Names and functions of the heuristics in a stack of decorators, the outermost first."""
    while isinstance(stack, Heuristics):
        yield from stack.values.items()
        stack = stack.fn


def prepare(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Compile for a call on the current device without loading, on any thread; `bind` then finds it done.

    Raises what Triton raises. Nothing is done ahead for a kernel whose own hooks would see it.
    """
    jit = jit_of(stack)
    if not is_interpreted(jit) and not jit.pre_run_hooks:
        make_table(jit)
        warmed(stack, arguments, (1,), keywords)


def bind(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Bound:
    """Compile and load for a call, on the current device, without launching. Raises what Triton raises."""
    jit = jit_of(stack)
    if is_interpreted(jit):
        return Bound(None, Resources())
    kernel = warmed(stack, arguments, (1,), keywords)
    if kernel is None:
        return Bound(None, Resources())
    if not hasattr(kernel, "_init_handles"):
        return Bound(None, Resources(), kernel)
    kernel._init_handles()
    try:
        resources = Resources(kernel.n_regs, kernel.n_spills, kernel.metadata.shared)
        watched = tuple((scope, name, value) for (name, _), (value, scope) in jit.used_global_vals.items())
        return Bound(_launcher(kernel), resources, kernel, watched)
    except AttributeError:
        return Bound(None, Resources(), kernel)


def launch(stack: Any, arguments: Sequence[Any], grid: Any, keywords: Mapping[str, Any]) -> Any:
    """A launch through Triton. In its interpreter, where one thread launches at a time, what a caller wrote around the
    kernel is called before: it may launch another, and wait for who waits for its turn.
    """
    jit = jit_of(stack)
    if not is_interpreted(jit):
        return stack.run(*arguments, grid=grid, warmup=False, **keywords)
    seen = {**keywords, "grid": grid, "warmup": False}
    for name, function in heuristics_of(stack):
        seen[name] = function({**dict(zip(jit.arg_names, arguments, strict=False)), **seen})
    filled = {name: value for name, value in seen.items() if name not in ("grid", "warmup")}
    if callable(grid):
        taken = {name: value for name, value in filled.items() if name in jit.arg_names}
        grid = grid(inspect.getcallargs(jit.fn, *arguments, **taken))
    with turn(jit):
        return jit.run(*arguments, grid=grid, warmup=False, **filled)


def _launcher(kernel: Any) -> Callable[..., None] | None:
    """Triton's own last step of a launch. None for other backends: they specialise on more than our plans look at."""
    if driver.active.get_current_target().backend != "cuda" or not hasattr(knobs.runtime.launch_enter_hook, "calls"):
        return None
    function, (go, flags) = kernel.function, unhooked(kernel.run, kernel.packed_metadata)
    stream_of = driver.active.get_current_stream
    index = driver.active.get_current_device()

    def run(grid: Sequence[int], *arguments: Any) -> None:
        count = len(grid)
        go(
            grid[0], grid[1] if count > 1 else 1, grid[2] if count > 2 else 1,
            stream_of(index), function, *flags, *arguments,
        )  # fmt: skip

    return run


def hooks(when: str) -> Any:
    """The chain of launch hooks (`enter` or `exit`) that there is now; where a program has put something else in its
    place, one that never is the current one.
    """
    found = getattr(knobs.runtime, f"launch_{when}_hook")
    return found if hasattr(found, "calls") else SimpleNamespace(calls=())


def is_observed(jit: Any) -> bool:
    """Whether someone wants to see each launch or each compilation: a profiler, a debugger, or its own hook."""
    runtime = knobs.runtime
    return bool(
        getattr(runtime.launch_enter_hook, "calls", True)
        or getattr(runtime.launch_exit_hook, "calls", True)
        or jit.pre_run_hooks
        or runtime.debug
        or getattr(runtime, "add_stages_inspection_hook", None)
        or getattr(knobs.compilation, "instrumentation_mode", "")
    )


def is_loaded(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """Whether the kernel for a call is loaded on the current device. It is compiled where it was not."""
    return getattr(warmed(stack, arguments, (1,), keywords), "module", None) is not None


def current_device() -> Callable[[], int]:
    """The function that tells the index of the device on which Triton launches."""
    found: Callable[[], int] = driver.active.get_current_device
    return found


def printing() -> bool:
    """Whether TRITON_PRINT_AUTOTUNING, or its knob, asks for a line per config and result."""
    return bool(knobs.autotuning.print)


def listener() -> Callable[..., object] | None:
    """Who is told of each tuning (`knobs.autotuning.listener`); None where this Triton has no such knob."""
    found: Callable[..., object] | None = getattr(knobs.autotuning, "listener", None)
    return found
