"""What Triton compiles a kernel from, in words that another process understands: no tensor, no GPU, no torch.

With `compiled.py` the only file that touches Triton's private API.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from tunedb._internal.switch_interval import short_switch_interval

_ADDED = ("instrumentation_mode", "fpsan_homomorphic_casts")
_MISCOUNTED, _TRIES = "AST constructor recursion depth mismatch", 5


@dataclass(frozen=True, slots=True)
class CompileJob:
    """A jit function, by where it is found, and all that it is specialised on. It can be pickled."""

    module: str
    name: str
    signature: Mapping[str, str]
    constants: Mapping[tuple[int, ...], Any]
    attributes: Mapping[tuple[int, ...], Any]
    options: Mapping[str, Any]
    target: GPUTarget

    @classmethod
    def of(cls, jit: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], target: GPUTarget) -> CompileJob:
        """The recipe of a launch with these arguments and keywords. Raises what a Triton that is not known raises."""
        backend = make_backend(target)
        binder = triton.runtime.jit.create_function_from_signature(jit.signature, jit.params, backend)
        keywords = {"debug": bool(jit.debug or triton.knobs.runtime.debug), **_added(), **keywords}
        bound, specialization, given = binder(*arguments, **keywords)
        options, signature, constants, attributes = jit._pack_args(backend, keywords, bound, specialization, given)
        where = jit.fn.__module__, jit.fn.__qualname__
        return cls(*where, signature, constants, attributes, dict(options.__dict__), target)

    def find(self) -> Any:
        """The jit function, in this process. Raises ImportError or AttributeError where it is not there."""
        found = functools.reduce(getattr, self.name.split("."), import_module(self.module))
        while not hasattr(found, "cache_key") and hasattr(found, "fn"):  # under other decorators
            found = found.fn
        return found

    def compile(self, jit: Any = None) -> Any:
        """Triton's compiled kernel; in passing, it is put into Triton's cache on disk. Raises what Triton raises."""
        source = ASTSource(jit or self.find(), self.signature, self.constants, self.attributes)
        return parsing(functools.partial(triton.compile, source, target=self.target, options=dict(self.options)))


def _added() -> dict[str, Any]:
    """What a launch adds of itself, in those versions of Triton that do."""
    known = {name: getattr(triton.knobs.compilation, name, None) for name in _ADDED}
    return {name: value for name, value in known.items() if value is not None}


def preload() -> None:
    """Load and compute what every compile needs, so that forks of this process find it done."""
    with contextlib.suppress(Exception):  # of no consequence but time, and each version has it somewhere else
        module = import_module("triton.compiler.compiler")
        (getattr(module, "triton_key", None) or import_module("triton.runtime.cache").triton_key)()


@functools.cache
def preload_aside() -> threading.Thread:
    """Begin to `preload` on a thread: Triton hashes its own libraries, which takes as long as opening the store."""

    def beside() -> None:
        with short_switch_interval:
            preload()

    thread = threading.Thread(target=beside, daemon=True)
    with contextlib.suppress(RuntimeError):  # no more threads, or the process is about to end
        thread.start()
    return thread


def preloaded() -> None:
    """Wait for what `preload_aside` began, if it did: Triton would do all of it once more."""
    if preload_aside.cache_info().currsize and preload_aside().is_alive():
        preload_aside().join()


def parsing(work: Callable[[], Any]) -> Any:
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
