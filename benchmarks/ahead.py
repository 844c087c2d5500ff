"""Compiles what a run will measure ahead of it, so that the GPU does not wait for compilers.

`CompiledAhead` compiles the candidates of all problems on the cores that are free, in the order in which they will be
tuned. `warm_others` fills the caches of `torch.compile` and of Triton with what they are compared with, in processes
that run `python -m benchmarks.ahead TASKS`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from benchmarks.children import Child, ChildFailed, begin
from tunedb.core.problem import Config, Problem
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.avg_pool.tunable import AvgPool
from tunedb.kernels.avg_pool.workload import PoolWorkload
from tunedb.runtime.compile_pool import workers
from tunedb.runtime.compile_worker import CompileWorker
from tunedb.runtime.current_device import device_of

MAX_PROCESSES = 8  # that compile what is compared: each has a context on the GPU, and the tensors of a problem
INDUCTOR = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # in processes of their own, Inductor would start as many for each

Task = tuple[dict[str, Any], bool]  # the arguments of a problem, and whether the gradient is meant

_log = logging.getLogger(__name__)


class CompiledWorkload(PoolWorkload):
    """A workload whose configs are compiled already: a sweep of it starts no process that compiles."""

    compile_job = None  # type: ignore[assignment]


@dataclass(frozen=True)
class CompiledPool(AvgPool):
    """Average pooling whose candidates were compiled ahead. Its sweeps are those of `AvgPool`."""

    def workload(self, problem: Problem, index: int) -> PoolWorkload:
        """Make tensors for the problem on the GPU of that index."""
        return CompiledWorkload(Pool.of_problem(problem), self.backward, index)


class CompiledAhead:
    """The candidates of the tasks, which other processes compile into Triton's cache, the first task's first."""

    def __init__(self, tasks: Sequence[Task], index: int) -> None:
        self._worker = CompileWorker(workers())
        self._threads = ThreadPoolExecutor(workers(), "compiled-ahead")
        self._futures: list[list[Future[float | None]]] = []
        device = device_of(index)
        for arguments, backward in tasks:
            kernel = AvgPool(backward)
            problem = kernel.problem(arguments)
            space = kernel.space(problem, device)
            self._futures.append([self._threads.submit(self._compile, kernel, problem, config) for config in space])

    def wait(self, number: int) -> None:
        """Wait until the candidates of that task are compiled. One that can't be is left to the sweep."""
        wait(self._futures[number])

    def close(self) -> None:
        """Drop what has not been compiled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._worker.close()

    def _compile(self, kernel: AvgPool, problem: Problem, config: Config) -> float | None:
        from benchmarks.offline import launch_of
        from tunedb.runtime.loaded_kernel import compile_job

        job = compile_job(launch_of(kernel, problem, config))
        return None if job is None else self._worker.compile(job)


def warm_others(tasks: Sequence[Task]) -> None:
    """Compile what is compared with ours, in half as many processes as there are cores, so that the caches have it."""
    count = max(1, min(MAX_PROCESSES, len(tasks), len(os.sched_getaffinity(0)) // 2))
    children = [Child(["benchmarks.ahead", json.dumps(tasks[number::count])], INDUCTOR) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        for child in [pool.submit(child.run) for child in children]:
            try:
                child.result()
            except ChildFailed as error:
                _log.warning("%s: what it did not compile is compiled when it is measured.", error)


def main() -> None:
    """Compile the tasks of the command line, in the child."""
    import torch

    from benchmarks.pooling import others_of, read_by, release_memory

    torch.zeros(1, device="cuda")
    begin()
    tasks: list[Task] = json.loads(sys.argv[1])
    for arguments, backward in tasks:
        for function in others_of(arguments, read_by(arguments, backward), ["compile", "baseline"], backward).values():
            function()
        release_memory()
    print(json.dumps({"compiled": len(tasks)}))


if __name__ == "__main__":
    main()
