"""Kernels compiled into a folder, for a device that need not be here: `tunedb precompile`."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from triton.backends.compiler import GPUTarget
from triton.runtime.cache import FileCacheManager

from tunedb._internal.control import let_pass, suppress
from tunedb.core.problem import Config, Problem
from tunedb.runtime import compat_cache, compat_triton
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.compile_worker import CompileWorker

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # then no other kernel can be written either


@runtime_checkable
class CompilesForOthers(Protocol):
    """A registered kernel whose configs can be compiled for a device that is not here."""

    def compile_jobs(self, problem: Problem, config: Config, target: GPUTarget, tensor: Any) -> Sequence[CompileJob]:
        """Return what compiles a config for calls of a problem, each job once.

        `tensor` is the one that such a call was recorded with, without memory; None if it was not recorded.
        """


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to compile: its job, or why there is none; and for people whose it is, and where its config is from."""

    name: str
    problem: Mapping[str, Any]
    config: Mapping[str, Any]
    source: str  # of the config: `store`, `nearest`, `default`, or `recorded`
    job: CompileJob | None = None
    fault: str = ""
    note: str = ""  # what is odd about it, although it can be compiled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a kernel to compile. `entry` is its folder's name in the cache."""

    kernel: Kernel
    status: str  # `compiled`, `there` or `failed`
    seconds: float = 0.0
    reason: str = ""
    entry: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def compile_all(
    kernels: Sequence[Kernel], folder: Path, workers: int, on_done: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Compile the kernels into the folder, as many at a time as there are workers, and return what became of each.

    `on_done` is called in the order of the kernels, as soon as that is known. Raises OSError if the folder can't be
    written. If the current device is what the kernels are compiled for, each is loaded too: in some versions of Triton
    that compiles the C code which launches it, and that is kept in the folder as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.iterdir()}
    outcomes = []
    with compat_cache.caching_in(str(folder), FileCacheManager):
        worker = None
        if workers > 1 and sum(kernel.job is not None for kernel in kernels) > 1:
            with suppress(OSError):  # no process can start
                worker = CompileWorker(workers)
        threads = ThreadPoolExecutor(workers if worker else 1, "tunedb-precompile")
        try:
            ahead = [threads.submit(_in_worker, worker, kernel) for kernel in kernels]
            for kernel, future in zip(kernels, ahead, strict=True):
                outcomes.append(_compiled(kernel, before, future.result()))
                on_done(outcomes[-1])
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            if worker is not None:
                worker.close()
    return outcomes


def _in_worker(worker: CompileWorker | None, kernel: Kernel) -> float | None:
    """Have the compile worker compile a kernel. What it can't, this process compiles afterwards, and sees the error."""
    return None if worker is None or kernel.job is None else worker.compile(kernel.job)


def _compiled(kernel: Kernel, before: set[str], seconds: float | None) -> Outcome:
    if kernel.job is None:
        return Outcome(kernel, "failed", reason=kernel.fault)
    start = time.perf_counter()
    try:
        jit = kernel.job.find()
        compiled = kernel.job.compile(jit)
        if _is_here(kernel.job.target):
            compat_triton.load_handles(compiled)
    # Triton may raise anything for a kernel that it can't compile, and so may a module that is imported.
    except Exception as error:
        let_pass(error)
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        return Outcome(kernel, "failed", time.perf_counter() - start, reason)
    entry = compat_cache.entry_of(compiled)
    what = {"kernel": kernel.name, "function": f"{jit.fn.__module__}.{jit.fn.__qualname__}", "source": jit.cache_key}
    status = "there" if entry in before else "compiled"
    return Outcome(kernel, status, seconds or time.perf_counter() - start, kernel.note, {entry: what})


def _is_here(target: GPUTarget) -> bool:
    try:
        return bool(compat_triton.current_target() == target)
    except RuntimeError as error:  # no driver, as there is no GPU
        let_pass(error)
        return False
