"""Decorated kernels against triton.autotune: host time of a repeated call, cold tuning, start of a second process.

    python -m benchmarks.autotune --json benchmarks/results/autotune.json
    python -m benchmarks.autotune --module DIR/03-matrix-multiplication.py --kernel matmul_kernel \\
        --setup "a, b = (torch.randn(768, 768, device='cuda').half() for _ in range(2))" --call "matmul(a, b)"

Without --module the kernels of examples/ are run. A module is any file outside this project whose kernels are decorated
with `triton.autotune`; it is imported with that replaced by ours, in processes of their own, launches nothing then, and
nothing of it is kept. --setup and --call are Python that sees torch, triton and the module's names; the call returns a
tensor. Runs are appended to the JSON file, which is a list of them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.children import Child, begin, in_turn

WAYS = ("triton", "triton_cached", "tunedb")  # triton.autotune without and with cache_results, and ours
EXAMPLES = Path(__file__).parent.parent / "examples"
CASES = [
    {"module": str(EXAMPLES / "example_kernels/softmax.py"), "kernel": "softmax_kernel", "call": "softmax(x)",
     "setup": "x = torch.randn(4096, 1024, device='cuda')"},
    {"module": str(EXAMPLES / "example_kernels/matmul.py"), "kernel": "matmul_kernel", "call": "matmul(a, b)",
     "setup": "a, b = (torch.randn(1024, 1024, device='cuda').half() for _ in range(2))"},
]  # fmt: skip
ROUNDS, CALLS = 21, 300


def load_module(path: str, way: str) -> dict[str, Any]:
    """Return the file's names, with its decorator replaced. Drops what the file prints or shows when imported."""
    import triton
    import triton.testing

    import tunedb

    def triton_autotune(*args: Any, **kwargs: Any) -> Any:
        for name in ("reference", "bucket", "name"):
            kwargs.pop(name, None)
        return theirs(*args, **({"cache_results": True} if way == "triton_cached" else {}) | kwargs)

    theirs, ours = triton.autotune, tunedb.autotune
    triton.autotune = tunedb.autotune = ours if way == "tunedb" else triton_autotune
    if way != "tunedb":
        triton.runtime.Autotuner.registered = lambda kernel, _: kernel  # what the examples end with
    triton.testing.Mark.run = lambda *_, **__: None  # tutorials end with their own benchmarks
    spec = importlib.util.spec_from_file_location("benchmarked", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarked"] = module
    try:
        with contextlib.redirect_stdout(io.StringIO()), nothing_launched():
            spec.loader.exec_module(module)
    finally:
        triton.autotune, tunedb.autotune = theirs, ours
    return vars(module)


@contextlib.contextmanager
def nothing_launched() -> Iterator[None]:
    """Launch nothing: tutorials call kernels on import, and the figures would miss what was compiled then."""
    import triton

    from tunedb.decorator.autotuner import Autotuner

    kinds = triton.runtime.KernelInterface, Autotuner
    before = [kind.__getitem__ for kind in kinds]
    for kind in kinds:
        kind.__getitem__ = _nothing
    try:
        yield
    finally:
        for kind, get in zip(kinds, before, strict=True):
            kind.__getitem__ = get


def _nothing(*_: Any) -> Callable[..., None]:
    return lambda *_, **__: None


def prepared(case: dict[str, Any], way: str) -> tuple[Callable[[], Any], Any, list[tuple[Any, ...]]]:
    """Return a call of the case, its kernel, and a list with the grid and the arguments of its last launch."""
    import torch
    import triton

    names = load_module(case["module"], way)
    names.update(torch=torch, triton=triton)
    torch.manual_seed(0)
    exec(case["setup"], names)
    code = compile(case["call"], "<call>", "eval")
    kernel = names[case["kernel"]]
    seen: list[tuple[Any, ...]] = []
    names[case["kernel"]] = _Noted(kernel, seen)
    return lambda: eval(code, names), kernel, seen


class _Noted:
    """A stand-in for the kernel that notes the last launch that its module makes."""

    def __init__(self, kernel: Any, seen: list[tuple[Any, ...]]) -> None:
        self._kernel, self._seen = kernel, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        def launch(*args: Any, **kwargs: Any) -> Any:
            self._seen[:] = [(grid, args, kwargs)]
            return self._kernel[grid](*args, **kwargs)

        return launch


def host_us(functions: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Return the microseconds that the host needs for a launch: medians over rounds, in turns that rotate."""
    import torch

    names, times = list(functions), {name: [] for name in functions}  # type: dict[str, list[float]]
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(CALLS):
                functions[name]()
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
            torch.cuda.synchronize()
    return {
        name: {"median_us": round(median(taken), 3), "best_us": round(min(taken), 3)} for name, taken in times.items()
    }


def first_call(case: dict[str, Any], way: str) -> dict[str, Any]:
    """Return the seconds of a fresh process's first call, the config that it chose, and a digest of the result."""
    import torch

    call, kernel, _ = prepared(case, way)
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    flat = result.double().flatten()
    weights = torch.linspace(-1, 1, flat.numel(), dtype=torch.float64, device=flat.device)
    digest = float((flat * weights).sum()) / float((flat * weights).abs().sum())
    return {"first_call_s": round(seconds, 4), "config": str(tuned_in(kernel).best_config), "digest": digest}


def tuned_in(kernel: Any) -> Any:
    """Return the Autotuner in a stack of decorators."""
    import triton

    while not isinstance(kernel, triton.runtime.Autotuner):
        kernel = kernel.fn
    return kernel


def steady(case: dict[str, Any]) -> dict[str, Any]:
    """Time the host in one process: a kernel with Triton's decorator, with ours, and `kernel[grid]` with our config.

    `cache_results` makes no difference to a call that is answered from memory.
    """
    launches: dict[str, Callable[[], object]] = {}
    for way in ("triton", "tunedb"):
        call, kernel, seen = prepared(case, way)
        call()
        call()
        ((grid, args, kwargs),) = seen
        launches[way] = partial(_launch, kernel, grid, args, kwargs)
    inner = tuned_in(kernel).fn
    if inner is not kernel.fn:
        sys.exit("heuristics above the decorator: what they fill in is not known here")
    launches["kernel[grid]"] = partial(_launch, inner, grid, args, kwargs | tuned_in(kernel).best_config.all_kwargs())
    return host_us(launches)


def _launch(kernel: Any, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    kernel[grid](*args, **kwargs)


def child(case: dict[str, Any], way: str, step: str, folder: str) -> Child:
    """Return the child that runs a step of a case, with the caches of that folder."""
    Path(folder).mkdir(exist_ok=True)
    environment = {
        "TUNEDB_STORE": f"{folder}/tunedb.db", "TUNEDB_BUDGET": "3600",
        "TRITON_CACHE_DIR": f"{folder}/triton", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    return Child(["benchmarks.autotune", "--step", step, "--way", way, "--case", json.dumps(case)], environment)


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Measure each way in a fresh folder, cold and in a second process; then all repeated calls in one process."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [(way, "first", way) for way in WAYS for _ in range(2)] + [("", "steady", "tunedb")]
        answers = list(in_turn(partial(child, case, way, step, f"{folder}/{place}") for way, step, place in parts))
    figures: dict[str, Any] = {
        way: dict(zip(("cold", "second_process"), answers[2 * number : 2 * number + 2], strict=True))
        for number, way in enumerate(WAYS)
    }
    digests = [figures[way][step]["digest"] for way in WAYS for step in ("cold", "second_process")]
    figures["results_differ_by"] = max(digests) - min(digests)  # of the weighted sum of the elements' sizes
    figures["repeated_call"] = answers[-1]
    us = {name: answers[-1][name]["median_us"] for name in ("triton", "tunedb", "kernel[grid]")}
    figures["tunedb_over_triton"] = round(us["tunedb"] / us["triton"], 3)
    figures["tunedb_over_kernel_grid"] = round(us["tunedb"] / us["kernel[grid]"], 3)
    return {"module": Path(case["module"]).name, "kernel": case["kernel"], "call": case["call"],
            "setup": case["setup"], **figures}  # fmt: skip


def main() -> None:
    """Run the cases, print a table, and append to the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autotune", description=__doc__.splitlines()[0])
    parser.add_argument("--module", help="a file whose kernel is decorated with triton.autotune")
    parser.add_argument("--kernel", help="the kernel's name in it")
    parser.add_argument("--setup", default="", help="Python that makes the arguments")
    parser.add_argument("--call", help="Python that calls the kernel's wrapper and returns a tensor")
    parser.add_argument("--json", help="a file with a list, to which the run is appended")
    parser.add_argument("--step", choices=["first", "steady"], help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        import torch  # noqa: F401 - imported before the clock starts
        import triton  # noqa: F401

        import tunedb.decorator.autotuner  # noqa: F401

        begin()
        case = json.loads(options.case)
        print(json.dumps(first_call(case, options.way) if options.step == "first" else steady(case)))
        return
    if options.module and not (options.kernel and options.call):
        parser.error("--module needs --kernel and --call")
    from benchmarks.timing import provenance, require_gpu

    require_gpu()
    case = {"module": options.module, "kernel": options.kernel, "call": options.call, "setup": options.setup}
    results = [measure(case) for case in ([case] if options.module else CASES)]
    for result in results:
        print(f"{result['module']} {result['call']}")
        for way in WAYS:
            seconds = (result[way][step]["first_call_s"] for step in ("cold", "second_process"))
            print("  {:14} cold {:8.3f} s   second process {:7.3f} s".format(way, *seconds))
        for name, taken in result["repeated_call"].items():
            print(f"  {name:14} repeated call {taken['median_us']:6.2f} us of the host")
    if options.json:
        path = Path(options.json)
        runs = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*runs, {**provenance(), "results": results}], indent=2) + "\n")


if __name__ == "__main__":
    main()
