"""The compile pool of a sweep: compiles its next configs while earlier ones are checked and timed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, runtime_checkable

from tunedb._internal.control import suppress
from tunedb.core.kernel import Resources, Workload
from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.compile_worker import CompileWorker
from tunedb.runtime.failures import typed_errors

MAX_WORKERS = 16  # compiles at a time, because each takes memory. Chosen
_MAX_WAIT_S = 30 * 24 * 3600.0  # a month stands for no limit: `wait` refuses infinity


@runtime_checkable
class HasCompileJob(Protocol):
    """A workload whose configs another process can compile.

    Their module is imported there: it should not need torch, and do nothing but define kernels.
    """

    def compile_job(self, config: Config) -> CompileJob | None:
        """Return the job that compiles the config; None if only this process can."""


class CompilePool:
    """A pool that prepares configs in their order, each once; with `workers` 0, each at its first use.

    If `job_of` gives a job for a config, the compile worker compiles it into Triton's cache, where `prepare` then finds
    it; otherwise `prepare` compiles it, on a thread. The first config is always compiled on a thread: that is done by
    the time the compile worker has started. It is started for the first config that is not known to be in the cache.
    """

    def __init__(
        self,
        prepare: Callable[[Config], Resources],
        configs: Sequence[Config],
        workers: int,
        job_of: Callable[[Config], CompileJob | None] | None = None,
    ) -> None:
        self._prepare = prepare
        self._job_of: Callable[[Config], CompileJob | None] | None = None
        self._workers = workers
        self._lock = threading.Lock()
        self._worker: CompileWorker | None = None
        self._may_start = True  # the compile worker; once
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[Config, Future[tuple[Resources, float]]] = {}
        self._is_closed = False
        if not workers or len(configs) < 2:
            return
        first, *others = configs
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.close)  # also at an interrupt: the compile worker must not stay
            has_jobs = job_of is not None and job_of(first) is not None
            self._job_of = job_of if has_jobs else None
            # Threads leave a core to the thread that times; the compile worker need not, as it has a lower priority.
            threads = workers if has_jobs else max(1, workers - 1)
            self._pool = ThreadPoolExecutor(threads, "tunedb-compile")
            with suppress(RuntimeError, MemoryError):  # no more threads, or Python is ending: `get` compiles the rest
                self._futures[first] = self._pool.submit(self._run, first)
                for config in others:
                    self._futures[config] = self._pool.submit(self._run_job, config)
            cleanup.pop_all()

    def is_done(self, config: Config, seconds: float) -> bool:
        """Say whether `get` returns or raises at once for a config, after waiting for at most that time.

        True also for a config that `get` itself compiles; False for any if no time is left.
        """
        future = self._futures.get(config)
        return seconds > 0 and (future is None or bool(wait([future], min(seconds, _MAX_WAIT_S)).done))

    def get(self, config: Config) -> tuple[Resources, float]:
        """Return the resources of the compiled config, and the seconds that it took to compile.

        Raises TrialError if the config can't be compiled, StickyDeviceError if none can, else the compile's own error.
        """
        future = self._futures.get(config)
        if future is None:
            return self._run(config)
        try:
            return future.result()
        finally:
            # An error's frame would hold the future, and the future the error: a cycle that keeps a launch's tensors.
            del future

    def close(self) -> None:
        """Drop what has not started. A compile that runs ends on its own and holds no tensor: nothing waits for it."""
        self._is_closed = True
        with self._lock:  # for one that is being started
            worker, self._worker = self._worker, None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if worker is not None:
            _kept.give_back(worker)
        self._futures.clear()

    def _run(self, config: Config) -> tuple[Resources, float]:
        start = time.perf_counter()
        with typed_errors():
            resources = self._prepare(config)
        return resources, time.perf_counter() - start

    def _run_job(self, config: Config) -> tuple[Resources, float]:
        job = None if self._job_of is None else self._job_of(config)
        worker = None if job is None or job.is_cached() else self._compile_worker()
        seconds = None if job is None or worker is None else worker.compile(job)
        if self._is_closed:
            raise TrialError("pruned", "The sweep has ended.")
        resources, own_seconds = self._run(config)
        return resources, own_seconds if seconds is None else seconds

    def _compile_worker(self) -> CompileWorker | None:
        """Return the compile worker, started by the first who asks; None if none can be, or the pool is closed."""
        with self._lock:
            if self._may_start and not self._is_closed:
                self._may_start = False
                with suppress(OSError, RuntimeError, MemoryError):  # no process or thread can start: threads compile
                    self._worker = _kept.take(self._workers)
            if self._is_closed and self._worker is not None:  # meanwhile
                _kept.give_back(self._worker)
                self._worker = None
            return self._worker


class _KeptWorker:
    """The compile worker that is between two pools, if one is kept for the next. A worker is used by one pool."""

    def __init__(self) -> None:
        self.keeps = False
        self._worker: CompileWorker | None = None
        self._workers = 0

    def take(self, workers: int) -> CompileWorker:
        """Return the kept worker, or a new one. Raises OSError if none can be started."""
        worker, self._worker = self._worker, None
        if worker is not None and self._workers == workers and worker.is_idle:
            return worker
        if worker is not None:
            worker.close()
        self._workers = workers
        return CompileWorker(workers)

    def give_back(self, worker: CompileWorker) -> None:
        """Keep a worker that does nothing; end one that still compiles what nobody waits for, or is one too many."""
        if self.keeps and self._worker is None and worker.is_idle:
            self._worker = worker
        else:
            worker.close()

    def close(self) -> None:
        """End the kept worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()


_kept = _KeptWorker()


@contextlib.contextmanager
def one_compile_worker() -> Iterator[None]:
    """Have the pools of a block, one after the other, use one compile worker.

    A process that tunes many problems starts it once, not at each of them. It is for processes of tunedb's own: kernels
    that a program edits while it runs would be compiled as they were.
    """
    _kept.keeps = True
    try:
        yield
    finally:
        _kept.keeps = False
        _kept.close()


def pool_of(workload: Workload, configs: Sequence[Config], workers: int) -> CompilePool:
    """Return a pool that compiles configs of a workload, with its compile jobs if it has any."""
    job_of = workload.compile_job if isinstance(workload, HasCompileJob) else None
    return CompilePool(workload.prepare, configs, workers, job_of)


def workers() -> int:
    """Return how many configs are compiled at a time: one for each core that this process may use, at most 16."""
    return min(_limit, len(os.sched_getaffinity(0)))


def limit_workers(most: int | None) -> None:
    """Have this process compile at most so many configs at a time: its share, where others compile as well."""
    global _limit
    _limit = MAX_WORKERS if most is None else max(1, min(most, MAX_WORKERS))


_limit = MAX_WORKERS
