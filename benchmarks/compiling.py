"""Threads, processes or the compile worker: how long it takes to compile a problem's candidates. Needs no GPU.

    python -m benchmarks.compiling --workers 1 2 --json benchmarks/results/compiling-2cores.json

Each figure comes from its own process, which has imported torch and Triton when its clock starts, as a program that
sweeps has. `processes` are spawned by it, because a program with a CUDA context can't fork, and import torch;
`compiler` is tunedb.runtime.compile_worker, a process that imports only Triton, forks, and compiles all but the first.
The problems with a number of configs are decorated kernels, in a module that needs no torch: a user's mostly does, and
then each worker process imports it. `held_ms` is how long the others kept a thread waiting that wants to run every
0.1 ms, at most and at the 99th percentile: as long as that, they delay the timing of earlier candidates.
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

from benchmarks.first_kernels import CASES

if TYPE_CHECKING:
    from tunedb.runtime.compile_job import CompileJob

ARCH = 89
WAYS = ("threads", "processes", "compiler")
PROBLEMS: dict[str, dict[str, Any]] = {
    "window 8": {"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4},
    "window 25": {"shape": [32, 7, 360], "kernel_size": 25, "stride": 1},
    "looped": {"shape": [32, 8, 160000], "kernel_size": 160},
}


def job_of(problem: str, number: int) -> tuple[Any, CompileJob]:
    """Return the jit function of one candidate, and the job that compiles it for the RTX 4090."""
    from triton.backends.compiler import GPUTarget

    from tunedb.runtime.compile_job import CompileJob

    target = GPUTarget("cuda", ARCH, 32)
    if problem in CASES:
        case = CASES[problem]
        constants, options = case.configs[number]
        return case.jit, CompileJob.of(case.jit, case.arguments("meta"), {**constants, **options}, target)
    from benchmarks.offline import launch_of
    from tunedb.kernels.avg_pool import FORWARD

    arguments = PROBLEMS[problem]
    launch = launch_of(FORWARD, FORWARD.problem(arguments), candidates(arguments)[number])
    return launch.jit, CompileJob.of(launch.jit, launch.arguments, launch.keywords, target)


def compile_one(problem: str, number: int) -> None:
    """Compile one candidate for the RTX 4090, in this process."""
    jit, job = job_of(problem, number)
    job.compile(jit)


def candidates(arguments: dict[str, Any]) -> Any:
    """Return the space of an average pooling on an RTX 4090."""
    from tunedb.core.device import Device
    from tunedb.kernels.avg_pool import FORWARD

    return FORWARD.space(FORWARD.problem(arguments), Device("NVIDIA GeForce RTX 4090", "cuda", f"sm_{ARCH}", 128))


def measure(problem: str, how: str, workers: int) -> dict[str, Any]:
    """Measure seconds until the first candidate and all are compiled, and how long this thread was kept waiting."""
    count = len(CASES[problem].configs if problem in CASES else candidates(PROBLEMS[problem]))
    executor: Executor
    work: Callable[[str, int], None] = compile_one
    start = time.perf_counter()
    if how == "processes":
        executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    else:
        executor = ThreadPoolExecutor(workers)
    if how == "compiler":
        from tunedb.runtime.compile_worker import CompileWorker

        compiler = CompileWorker(workers)

        def work(problem: str, number: int) -> None:
            if number:
                compiler.compile(job_of(problem, number)[1])
            compile_one(problem, number)  # what the worker compiled comes from the cache

    ended, first, waits = threading.Event(), [0.0], []
    with executor as pool:
        futures: list[Future[None]] = [pool.submit(work, problem, number) for number in range(count)]
        futures[0].add_done_callback(lambda _: first.__setitem__(0, time.perf_counter() - start))
        threading.Thread(target=lambda: ([future.result() for future in futures], ended.set())).start()
        while not ended.is_set():
            start_of_wait = time.perf_counter()
            time.sleep(1e-4)
            waits.append(time.perf_counter() - start_of_wait)
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
    parser.add_argument("--problems", nargs="+", default=[*PROBLEMS, *CASES], choices=[*PROBLEMS, *CASES])
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        import triton  # noqa: F401 - loaded before the clock starts

        import tunedb.kernels.avg_pool  # noqa: F401

        print(json.dumps(measure(options.one[0], options.one[1], int(options.one[2]))))
        return
    rows = []
    for problem in options.problems:
        for how, workers in [("threads", 1), *((how, n) for n in options.workers for how in WAYS)]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "benchmarks.compiling", "--one", problem, how, str(workers)]
                environment = os.environ | {"TRITON_CACHE_DIR": folder}
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        from importlib.metadata import version

        facts = {"cores": os.cpu_count(), "python": platform.python_version(), "triton": version("triton")}
        Path(options.json).write_text(json.dumps({**facts, "arch": f"sm_{ARCH}", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
