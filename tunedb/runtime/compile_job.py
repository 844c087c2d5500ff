"""Jobs of the compile worker: what Triton compiles a kernel from, with no tensor, no GPU and no torch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tunedb._internal.control import chain, let_pass, suppress
from tunedb._internal.switch_interval import short_switch_interval
from tunedb.runtime import compat_cache
from tunedb.runtime.compat_triton import hash_triton, is_hashed, specialize

_Result = TypeVar("_Result")
_MISCOUNT = "AST constructor recursion depth mismatch"  # CPython's words, see `parsing`
_MAX_TRIES = 5  # of a parse that failed so. Chosen: it takes two parses that collide each time


@dataclass(frozen=True, slots=True)
class CompileJob:
    """A jit function, named by its module and its name there, and all that it is specialised on. It can be pickled."""

    module: str
    name: str
    signature: Mapping[str, str]
    constants: Mapping[tuple[int, ...], Any]
    attributes: Mapping[tuple[int, ...], Any]
    options: Mapping[str, Any]
    target: GPUTarget

    @classmethod
    def of(cls, jit: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], target: GPUTarget) -> CompileJob:
        """Return the job of a launch with these arguments and keywords. Raises what an unknown Triton raises."""
        return cls(jit.fn.__module__, jit.fn.__qualname__, *specialize(jit, arguments, keywords, target), target)

    def find(self) -> Any:
        """Return the jit function, in this process. Raises ImportError or AttributeError if it can't be found there."""
        function = functools.reduce(getattr, self.name.split("."), import_module(self.module))
        while not hasattr(function, "cache_key") and hasattr(function, "fn"):  # under other decorators
            function = function.fn
        return function

    def is_cached(self) -> bool:
        """Say whether Triton's cache on disk has the kernel; False if that is not known soon, or at all."""
        if is_hashed():  # otherwise that takes longer than what it is asked for
            with suppress(Exception):  # a user's module, or an unknown Triton: `compile` says what is wrong
                source = self._source(self.find())
                return parsing(functools.partial(compat_cache.is_cached, source, self.target, self.options))
        return False

    def compile(self, jit: Any = None) -> Any:
        """Compile into Triton's cache on disk and return Triton's compiled kernel. Raises what Triton raises."""
        source = self._source(jit or self.find())
        return parsing(functools.partial(triton.compile, source, target=self.target, options=dict(self.options)))

    def _source(self, jit: Any) -> ASTSource:
        return ASTSource(jit, self.signature, self.constants, self.attributes)


def preload() -> None:
    """Load and compute what every compile needs, so that forks of this process have it already."""
    hash_triton()


@functools.cache
def preload_aside() -> threading.Thread:
    """Begin to `preload` on a thread: Triton hashes its own libraries, which takes as long as opening the store."""

    def work() -> None:
        with short_switch_interval:
            preload()

    thread = threading.Thread(target=work, daemon=True)
    with suppress(RuntimeError, MemoryError):  # no more threads, or the process is about to end
        thread.start()
    return thread


def preloaded() -> None:
    """Wait for the thread of `preload_aside`, if there is one: Triton would do all of its work again."""
    if preload_aside.cache_info().currsize and preload_aside().is_alive():
        preload_aside().join()


def parsing(work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns, which parses Python source, and repeat it if another thread's parse disturbed it.

    Before Python 3.13 threads share the count of a parse's recursion depth (python/cpython#106905). The error says
    nothing about the kernel.
    """
    for _ in range(_MAX_TRIES):
        try:
            return work()
        # Triton wraps the error in errors of its own, whose classes differ between versions.
        except Exception as error:
            let_pass(error)
            if not any(_MISCOUNT in str(cause) for cause in chain(error)):
                raise
    return work()
