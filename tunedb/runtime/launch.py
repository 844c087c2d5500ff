"""Launches through Triton's public interface: one that is spelled out, and a call as its user wrote it."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triton.runtime.errors import InterpreterError

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb.runtime.compat_triton import heuristics_of, is_interpreted, jit_of
from tunedb.runtime.compile_cache import compiling

# Set explicitly, because Triton 3.9 warns if it is left open and 3.10 changes its default.
_FUSION = {"enable_fp_fusion": True}

_interpreter_lock = threading.RLock()


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

    @property
    def numbers(self) -> tuple[Any, ...]:
        """The arguments after the tensors."""
        import torch  # here, because a kernel's hash is asked for without it

        return self.arguments[sum(isinstance(value, torch.Tensor) for value in self.arguments) :]

    @property
    def rest(self) -> tuple[Any, ...]:
        """All arguments after the tensors, the constants too, in the order of the function's parameters."""
        names = self.jit.arg_names[len(self.arguments) :]
        return (*self.numbers, *(self.constants[name] for name in names))

    def __call__(self) -> None:
        """Launch on the current device and stream."""
        with interpreter_turn(self.jit):
            self.jit[self.grid](*self.arguments, **self.keywords)

    def repeater(self) -> Callable[..., None]:
        """Return `run(*tensors)`, which repeats the launch with other tensors."""
        jit, numbers, keywords = self.jit, self.numbers, self.keywords  # not `self`, which holds this launch's tensors
        runner = jit[self.grid]

        def run(*tensors: Any) -> None:
            with interpreter_turn(jit):
                runner(*tensors, *numbers, **keywords)

        return run


def interpreter_turn(jit: Any) -> contextlib.AbstractContextManager[object]:
    """Hold the interpreter's lock around a launch; nothing to hold for a compiled kernel.

    Triton's interpreter keeps the grid, and its replacements for Triton's language, in globals: only one thread may
    launch at a time.
    """
    return _interpreting() if is_interpreted(jit) else contextlib.nullcontext()


@contextlib.contextmanager
def _interpreting() -> Iterator[None]:
    with _interpreter_lock:
        try:
            yield
        except InterpreterError as error:
            let_pass(error)  # the interpreter wraps any error of the kernel's, also what a signal handler raised
            raise


@forks.in_child
def _renew_lock() -> None:
    global _interpreter_lock
    _interpreter_lock = threading.RLock()  # another thread of the parent may hold the old one


def launch_call(stack: Any, arguments: Sequence[Any], grid: Any, keywords: Mapping[str, Any]) -> Any:
    """Launch a call of a kernel through Triton. Raises CompileRefused in mode `strict-compile`, if it is in no cache.

    In the interpreter, heuristics and the grid function run before the lock is taken: they may launch another kernel,
    or wait for a thread that does.
    """
    jit = jit_of(stack)
    if not is_interpreted(jit):
        with compiling(stack, arguments, keywords):
            return stack.run(*arguments, grid=grid, warmup=False, **keywords)
    seen = {**keywords, "grid": grid, "warmup": False}
    for name, function in heuristics_of(stack):
        seen[name] = function({**dict(zip(jit.arg_names, arguments, strict=False)), **seen})
    filled = {name: value for name, value in seen.items() if name not in ("grid", "warmup")}
    if callable(grid):
        named = {name: value for name, value in filled.items() if name in jit.arg_names}
        grid = grid(inspect.getcallargs(jit.fn, *arguments, **named))
    with interpreter_turn(jit):
        return jit.run(*arguments, grid=grid, warmup=False, **filled)
