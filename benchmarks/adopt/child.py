"""One process of the benchmark: calls operations on one side, and prints what took how long as a JSON line.

    python -m benchmarks.adopt.child '{"package": "fla", "side": "tunedb", "operations": ["layer_norm"], ...}'

The clock starts before torch is imported.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import contextlib  # noqa: E402 - the clock starts first
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from statistics import median  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.adopt.operations import Call, Make, forward_and_backward, operations, spread  # noqa: E402

ROUNDS, CALLS = 7, 40  # 40 calls of an operation are fewer launches than fit the GPU's queue

Row = dict[str, Any]


def run(task: Row) -> Row:
    """Import, adopt if this is our side, call the operations once, and return seconds of each part and results."""
    import torch
    import triton  # noqa: F401 - a part of what is timed

    torch_imported = time.perf_counter()
    if task["side"] == "tunedb":
        import tunedb

        tunedb.adopt()
    adopted = time.perf_counter()
    calls = prepare(task)
    torch.cuda.synchronize()
    prepared = time.perf_counter()
    results = [forward_and_backward(call) for call in calls.values()]
    torch.cuda.synchronize()
    done = time.perf_counter()
    return {
        "torch_s": round(torch_imported - BEGAN, 4),
        "adopt_s": round(adopted - torch_imported, 4),
        "package_s": round(prepared - adopted, 4),
        "calls_s": round(done - prepared, 4),
        "digests": {name: digest(result) for name, result in zip(calls, results, strict=True)},
    }


def prepare(task: Row) -> dict[str, Call]:
    """Return the task's calls by name. Imports the package, with as many configs per kernel as the task says."""
    make, known = Make(), operations(task["package"])
    with fewer_configs(task["configs"]):
        return {name: known[name](make) for name in task["operations"]}


@contextlib.contextmanager
def fewer_configs(count: int) -> Iterator[None]:
    """Keep that many configs of each kernel that is decorated meanwhile; of 0, all. Alike on all sides."""
    from triton.runtime.autotuner import Autotuner

    theirs = Autotuner.__init__

    def init(self: Any, fn: Any, arg_names: Any, configs: Any, *args: Any, **kwargs: Any) -> None:
        theirs(self, fn, arg_names, spread(configs, count) if configs else configs, *args, **kwargs)

    if count:
        Autotuner.__init__ = init
    try:
        yield
    finally:
        Autotuner.__init__ = theirs


def count_kernels(task: Row) -> Row:
    """Call the operations until they have called enough kernels; return the kernels of each that have a choice."""
    from triton.runtime.autotuner import Autotuner

    names: list[str] = []
    theirs = Autotuner.run

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = self.fn
        while hasattr(function, "fn"):
            function = function.fn
        if len(self.configs) > 1:
            names.append(f"{function.__module__}.{function.__qualname__}")
        return theirs(self, *args, **kwargs)

    Autotuner.run = noting
    make, known = Make(), operations(task["package"])
    kernels: dict[str, list[str]] = {}
    with fewer_configs(task["configs"]):
        for name in task["operations"]:
            names.clear()
            forward_and_backward(known[name](make))
            kernels[name] = sorted(set(names))
            print(name, len(kernels[name]), file=sys.stderr, flush=True)
            if len(set().union(*kernels.values())) >= task["at_least"]:
                break
    return {"kernels": kernels}


def steady(task: Row) -> Row:
    """Return the microseconds of the host for a repeated forward call of each operation: medians over rounds."""
    import torch

    if task["side"] == "tunedb":
        import tunedb

        tunedb.adopt()
    host_us: dict[str, float] = {}
    for name, call in prepare(task).items():
        for _ in range(3):
            forward_and_backward(call)
        rounds = []
        for _ in range(ROUNDS):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            rounds.append((time.perf_counter() - start) / CALLS * 1e6)
        host_us[name] = round(median(rounds), 2)
    return {"host_us": host_us}


def digest(result: Any) -> float:
    """Return a number that nearly equal results have in common: a weighted sum, relative to the elements' sizes."""
    import torch

    flat = result.double().flatten()
    weights = torch.linspace(-1, 1, flat.numel(), dtype=torch.float64, device=flat.device)
    return float((flat * weights).sum() / (flat * weights).abs().sum())


if __name__ == "__main__":
    TASK = json.loads(sys.argv[1])
    print(json.dumps({"run": run, "count": count_kernels, "steady": steady}[TASK["step"]](TASK)))
