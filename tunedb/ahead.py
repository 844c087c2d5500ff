"""Compiling ahead: a sweep's configs, while earlier ones are checked and timed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tunedb.compiled import typed_errors
from tunedb.compiler import Compiler
from tunedb.errors import TrialError
from tunedb.problem import Config
from tunedb.recipe import Recipe
from tunedb.tunable import Resources

MOST = 16  # at a time


class Ahead:
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
        recipe: Callable[[Config], Recipe | None] | None = None,
    ) -> None:
        self._prepare = prepare
        self._recipe = recipe
        self._compiler: Compiler | None = None
        self._is_closed = False
        if recipe is not None and workers and len(configs) > 1:
            with contextlib.suppress(OSError):  # no process can be started: threads do it
                self._compiler = Compiler(workers)
        self._pool = ThreadPoolExecutor(workers, "tunedb-compile") if workers and len(configs) > 1 else None
        self._futures: dict[Config, Future[tuple[Resources, float]]] = {}
        if self._pool is not None:
            first, *others = configs
            self._futures = {first: self._pool.submit(self._run, first)}
            self._futures |= {config: self._pool.submit(self._run_elsewhere, config) for config in others}

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
        start = time.perf_counter()
        if self._compiler is not None and self._recipe is not None and (recipe := self._recipe(config)) is not None:
            self._compiler.compile(recipe)
            if self._is_closed:
                raise TrialError("pruned", "The sweep has ended.")
        return self._run(config)[0], time.perf_counter() - start


def workers(recipe: object = None) -> int:
    """How many compile at a time: one for each core that this process may use.

    Threads leave one core to the thread that times; processes need not, as the system takes it from them.
    """
    cores = len(os.sched_getaffinity(0))
    return min(MOST, cores if recipe is not None else max(1, cores - 1))
