"""Compiling ahead: a sweep's configs, on threads, while earlier ones are checked and timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tunedb.compiled import typed_errors
from tunedb.problem import Config
from tunedb.tunable import Resources

MOST = 16  # threads: of each compile about a sixth holds Python's lock, so that more would wait for each other


class Ahead:
    """Prepares configs in their order, each once. `workers` is 0 where a config is prepared when it is asked for."""

    def __init__(self, prepare: Callable[[Config], Resources], configs: Sequence[Config], workers: int) -> None:
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(workers, "tunedb-compile") if workers and len(configs) > 1 else None
        self._futures: dict[Config, Future[tuple[Resources, float]]] = {}
        if self._pool is not None:
            self._futures = {config: self._pool.submit(self._run, config) for config in configs}

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
            del (
                future
            )  # an error that passes through here would hold it, and it the error, with the tensors of a launch

    def close(self) -> None:
        """Drop what is not begun yet. What is being compiled ends on its own, with no tensor: nobody waits for it."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._futures.clear()

    def _run(self, config: Config) -> tuple[Resources, float]:
        start = time.perf_counter()
        with typed_errors():
            resources = self._prepare(config)
        return resources, time.perf_counter() - start


def workers() -> int:
    """How many threads compile: one for each core that this process may use but one, which times; one at the least."""
    return max(1, min(MOST, len(os.sched_getaffinity(0)) - 1))
