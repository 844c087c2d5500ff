"""Compiling ahead: a sweep's configs, while earlier ones are checked and timed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.compile_worker import CompileWorker
from tunedb.runtime.failures import typed_errors

MOST = 16  # at a time
MONTH = 30 * 24 * 3600.0  # seconds: what stands for no limit where one is needed


class CompilePool:
    """Prepares configs in their order, each once. `workers` is 0 where a config is prepared when it is asked for.

    With a `recipe`, another process compiles into Triton's cache what `prepare` then finds there; without one, or
    where it gives None, `prepare` compiles, on a thread. The first config is compiled here in any case: it is done by
    the time the other process has begun.
    """

    def __init__(
        self,
        prepare: Callable[[Config], Resources],
        configs: Sequence[Config],
        workers: int,
        recipe: Callable[[Config], CompileJob | None] | None = None,
    ) -> None:
        self._prepare = prepare
        self._recipe = recipe
        self._compiler: CompileWorker | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[Config, Future[tuple[Resources, float]]] = {}
        self._is_closed = False
        if not workers or len(configs) < 2:
            return
        first, *others = configs
        with contextlib.ExitStack() as undone:
            undone.callback(self.close)  # also at an interrupt: the process that compiles must not stay
            if recipe is not None and recipe(first) is not None:
                with contextlib.suppress(OSError):  # no process can be started: threads do it
                    self._compiler = CompileWorker(workers)
            # Threads leave a core to the one that times; processes need not, as the system takes it from them.
            threads = workers if self._compiler is not None else max(1, workers - 1)
            self._pool = ThreadPoolExecutor(threads, "tunedb-compile")
            self._futures[first] = self._pool.submit(self._run, first)
            self._futures |= {config: self._pool.submit(self._run_elsewhere, config) for config in others}
            undone.pop_all()

    def is_there(self, config: Config, seconds: float) -> bool:
        """Whether a config is compiled, or has failed, or is to be compiled when it is asked for, within that time.

        Where no time is left nothing is.
        """
        future = self._futures.get(config)
        return seconds > 0 and (future is None or bool(wait([future], min(seconds, MONTH)).done))

    def get(self, config: Config) -> tuple[Resources, float]:
        """What the compiled config takes, and the seconds that it took to compile.

        Raises TrialError where it can't be compiled, StickyDeviceError where nothing can, or what else went wrong.
        """
        future = self._futures.get(config)
        if future is None:
            return self._run(config)
        try:
            return future.result()
        finally:
            # An error that passes through here would hold it, and it the error, with the tensors of a launch.
            del future

    def close(self) -> None:
        """Drop what is not begun yet. What is being compiled ends on its own, with no tensor: nobody waits for it."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._compiler is not None:
            self._compiler.close()
        self._futures.clear()

    def _run(self, config: Config) -> tuple[Resources, float]:
        start = time.perf_counter()
        with typed_errors():
            resources = self._prepare(config)
        return resources, time.perf_counter() - start

    def _run_elsewhere(self, config: Config) -> tuple[Resources, float]:
        if self._compiler is None or self._recipe is None or (recipe := self._recipe(config)) is None:
            return self._run(config)
        seconds = self._compiler.compile(recipe)
        if self._is_closed:
            raise TrialError("pruned", "The sweep has ended.")
        resources, here = self._run(config)
        return resources, here if seconds is None else seconds


def workers() -> int:
    """How many configs are compiled at a time: one for each core that this process may use."""
    return min(MOST, len(os.sched_getaffinity(0)))
