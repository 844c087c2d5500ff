"""Threads, processes or the compiler process: how long it takes to compile a problem's candidates. Needs no GPU.

    python -m benchmarks.compiling --workers 1 2 --json benchmarks/results/compiling-2cores.json

Each figure comes from a process of its own, which has torch and Triton imported when its watch starts, as a program
has that sweeps. `processes` are spawned within it, because a program with a CUDA context can't fork, and import torch;
`compiler` is tunedb.runtime.compile_worker, a process that imports Triton alone and forks;
and it compiles all but the first.
`held_ms` tells how long a thread that wants to run every 0.1 ms was kept waiting by the others at most, and at the
99th percentile: it is what the timing of earlier candidates suffers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunedb.runtime.compile_job import CompileJob
    from tunedb.runtime.launch import Launch

ARCH = 89
WAYS = ("threads", "processes", "compiler")
PROBLEMS: dict[str, dict[str, Any]] = {
    "window 8": {"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4},
    "window 25": {"shape": [32, 7, 360], "kernel_size": 25, "stride": 1},
    "looped": {"shape": [32, 8, 160000], "kernel_size": 160},
}


def launch_of(arguments: dict[str, Any], number: int) -> Launch:
    """The launch of one candidate, on tensors that need no memory."""
    import torch

    from tunedb.kernels.avg_pool import FORWARD
    from tunedb.kernels.avg_pool.launch import empty_output, forward_launch
    from tunedb.kernels.avg_pool.problem import Pool, fresh_strides

    problem = FORWARD.problem(arguments)
    pool = Pool.of_problem(problem)
    strides = fresh_strides(pool.rows, pool.length, pool.layout)
    read = torch.empty_strided((pool.batch, pool.rows, pool.length), strides, dtype=pool.dtype, device="meta")
    return forward_launch(read, empty_output(read, pool.window), pool.window, candidates(arguments)[number])


def compile_one(arguments: dict[str, Any], number: int) -> None:
    """Compile one candidate for the RTX 4090, in this process."""
    launch = launch_of(arguments, number)
    job_of(launch).compile(launch.jit)


def job_of(launch: Launch) -> CompileJob:
    """What the launch is compiled from, for the RTX 4090."""
    from triton.backends.compiler import GPUTarget

    from tunedb.runtime.compile_job import CompileJob

    return CompileJob.of(launch.jit, launch.arguments, launch.keywords, GPUTarget("cuda", ARCH, 32))


def candidates(arguments: dict[str, Any]) -> Any:
    """The problem's space on an RTX 4090."""
    from tunedb.core.device import Device
    from tunedb.kernels.avg_pool import FORWARD

    return FORWARD.space(FORWARD.problem(arguments), Device("NVIDIA GeForce RTX 4090", "cuda", f"sm_{ARCH}", 128))


def measure(problem: str, how: str, workers: int) -> dict[str, Any]:
    """Seconds until the first candidate and until all are compiled, with what they kept this thread waiting."""
    arguments = PROBLEMS[problem]
    count = len(candidates(arguments))
    made: Executor
    one: Callable[[dict[str, Any], int], None] = compile_one
    start = time.perf_counter()
    if how == "processes":
        made = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    else:
        made = ThreadPoolExecutor(workers)
    if how == "compiler":
        from tunedb.runtime.compile_worker import CompileWorker

        compiler = CompileWorker(workers)

        def one(arguments: dict[str, Any], number: int) -> None:
            if number:
                compiler.compile(job_of(launch_of(arguments, number)))
            compile_one(arguments, number)  # of those that the other process compiled, from the cache

    ended, first, waits = threading.Event(), [0.0], []
    with made as pool:
        futures: list[Future[None]] = [pool.submit(one, arguments, number) for number in range(count)]
        futures[0].add_done_callback(lambda _: first.__setitem__(0, time.perf_counter() - start))
        threading.Thread(target=lambda: ([future.result() for future in futures], ended.set())).start()
        while not ended.is_set():
            begun = time.perf_counter()
            time.sleep(1e-4)
            waits.append(time.perf_counter() - begun)
        seconds = time.perf_counter() - start
    waits.sort()
    return {
        "problem": problem, "how": how, "workers": workers, "candidates": count, "seconds": round(seconds, 2),
        "first_s": round(first[0], 2),
        "held_ms": {"p99": round(waits[int(len(waits) * 0.99)] * 1e3, 2), "most": round(waits[-1] * 1e3, 2)},
    }  # fmt: skip


def main() -> None:
    """Measure every problem each way, print a line for each, and write all with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiling", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[os.cpu_count() or 1])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        import triton  # noqa: F401 - loaded before the watch starts

        import tunedb.kernels.avg_pool  # noqa: F401

        print(json.dumps(measure(given.one[0], given.one[1], int(given.one[2]))))
        return
    rows = []
    for problem in given.problems:
        for how, workers in [("threads", 1), *((how, n) for n in given.workers for how in WAYS)]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "benchmarks.compiling", "--one", problem, how, str(workers)]
                environment = os.environ | {"TRITON_CACHE_DIR": folder}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), flush=True)
    if given.json:
        from importlib.metadata import version

        facts = {"cores": os.cpu_count(), "python": platform.python_version(), "triton": version("triton")}
        Path(given.json).write_text(json.dumps({**facts, "arch": f"sm_{ARCH}", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
