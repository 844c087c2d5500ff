"""One process of the benchmark: calls operations on one side, and prints what took how long as a JSON line.

    echo go | python -m benchmarks.adopt.child '{"package": "fla", "side": "tunedb", "operations": ["layer_norm"], ...}'

Torch and Triton are imported before the clock starts, which takes as long on each side.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.adopt.operations import Call, Make, forward_and_backward, operations, spread
from benchmarks.children import begin

ROUNDS, CALLS = 7, 40  # 40 calls of an operation are fewer launches than fit the GPU's queue

Row = dict[str, Any]


def run(task: Row) -> Row:
    """Adopt if this is our side, import, call the operations once. Return the seconds of each part and the results."""
    import torch

    start = time.perf_counter()
    adopt_if_ours(task)
    adopted = time.perf_counter()
    calls = prepare(task)
    torch.cuda.synchronize()
    prepared = time.perf_counter()
    results = [forward_and_backward(call) for call in calls.values()]
    torch.cuda.synchronize()
    done = time.perf_counter()
    return {
        "adopt_s": round(adopted - start, 4),
        "package_s": round(prepared - adopted, 4),
        "calls_s": round(done - prepared, 4),
        "digests": {name: digest(result) for name, result in zip(calls, results, strict=True)},
    }


def adopt_if_ours(task: Row) -> None:
    """Adopt kernels if the task is our side's."""
    if task["side"] == "tunedb":
        import tunedb

        tunedb.adopt()


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
    """Call the operations; return the kernels of each that have a choice, and which operations failed, with the errors.

    A package refuses some of its operations on some GPUs.
    """
    from triton.runtime.autotuner import Autotuner

    names: set[str] = set()
    theirs = Autotuner.run

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = self.fn
        while hasattr(function, "fn"):
            function = function.fn
        if len(self.configs) > 1:
            names.add(f"{function.__module__}.{function.__qualname__}")
        return theirs(self, *args, **kwargs)

    Autotuner.run = noting
    kernels: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    for name, call in prepare(task).items():
        names.clear()
        try:
            forward_and_backward(call)
        except Exception as error:  # whatever a package raises: the benchmark takes another operation
            failed[name] = f"{type(error).__name__}: {error}"
        else:
            kernels[name] = sorted(names)
    return {"kernels": kernels, "failed": failed}


def steady(task: Row) -> Row:
    """Return the microseconds of the host for a repeated forward call of each operation: medians over rounds."""
    import torch

    adopt_if_ours(task)
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


def main(task: Row) -> None:
    """Wait for the turn, and run the task's step."""
    import torch  # noqa: F401 - loaded before the clock starts
    import triton.runtime.autotuner  # noqa: F401

    begin()
    print(json.dumps({"run": run, "count": count_kernels, "steady": steady}[task["step"]](task)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
