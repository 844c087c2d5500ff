"""Average pooling on a GPU against a copy of the same bytes, and against others.

    python -m benchmarks.avg_pool1d --problems FILE --against copy,eager,compile,FILE.py [--backward] \\
        --json benchmarks/results/avg_pool1d.json --plot docs/avg_pool1d.png
    python -m benchmarks.avg_pool1d --host --json benchmarks/results/avg_pool1d-host.json

A problems file has one JSON object a line, as `tunedb warm --shapes` takes it. Each result is checked against float64
before it is timed; all functions of a problem are timed in turns, so that ratios come from one run. Results are added
to the JSON file; problems that it holds for this device, direction and kernel are skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

LARGE_BYTES = 64 * 2**20  # moved: for fewer, the time to launch and latency count
Function = Callable[[], object]


def problem_bytes(arguments: dict[str, Any]) -> int:
    """Count the bytes of input, read once, and output, written once."""
    from tunedb.kernels.avg_pool.arguments import pool_of

    pool = pool_of(arguments, backward=False)
    columns = pool.length + pool.window.output_length(pool.length)
    return pool.batch * pool.rows * columns * pool.dtype.itemsize


def make_input(arguments: dict[str, Any], columns: int | None = None) -> Any:
    """Make normal values from a fixed seed in the problem's shape, dtype and layout."""
    import torch

    *front, length = arguments["shape"]
    length = columns or length
    dtype = getattr(torch, arguments.get("dtype", "float32"))
    layout = arguments.get("layout", "rows")
    if layout == "general":
        return make_input(arguments | {"layout": "rows"}, 2 * length)[..., ::2]
    transposed = layout == "transposed"
    shape = (*front[:-1], length, front[-1]) if transposed else (*front, length)
    generator = torch.Generator("cuda").manual_seed(0)
    values = torch.empty(shape, dtype=dtype, device="cuda").normal_(generator=generator)
    return values.transpose(-1, -2) if transposed else values


def window_of(arguments: dict[str, Any]) -> tuple[int, int, int, bool, bool]:
    """Return the window as torch's positional arguments."""
    kernel_size = arguments["kernel_size"]
    stride = arguments.get("stride") or kernel_size
    switches = arguments.get("ceil_mode", False), arguments.get("count_include_pad", True)
    return kernel_size, stride, arguments.get("padding", 0), *switches


def functions_of(arguments: dict[str, Any], against: list[str], backward: bool) -> dict[str, Function]:
    """Return what is to be timed, by name; `ours` is one of them."""
    import torch
    from torch.nn import functional

    from benchmarks.main_job import copy_of_as_many_bytes
    from tunedb.kernels import avg_pool1d
    from tunedb.kernels.avg_pool.op import _pool_backward
    from tunedb.kernels.avg_pool.torch_library import torch_backward
    from tunedb.kernels.geometry import Window

    numbers = window_of(arguments)
    window, length = Window(*numbers), arguments["shape"][-1]
    read = make_input(arguments, window.output_length(length) if backward else None)

    def eager(tensor: Any) -> Any:
        return torch_backward(tensor, length, window) if backward else functional.avg_pool1d(tensor, *numbers)

    def ours() -> Any:
        return _pool_backward(read, length, window) if backward else avg_pool1d(read, *numbers)

    functions: dict[str, Function] = {"ours": ours}
    for name in against:
        if name == "copy":
            functions["copy"] = copy_of_as_many_bytes(read, ours())
        elif name == "eager":
            functions["eager"] = partial(eager, read)
        elif name == "compile":
            torch.compiler.reset()
            compiled = torch.compile(eager, dynamic=False)
            functions["compile"] = partial(compiled, read)
        elif not backward and numbers[3:] == (False, True):  # a ModelNew takes neither switch, and has no gradient
            model = load_model(name, *numbers[:3])
            functions[Path(name).stem] = partial(model, read)
    check(ours(), read, eager)
    return functions


def load_model(path: str, *window: int) -> Any:
    """Load `ModelNew(kernel_size, stride, padding)` of a file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelNew(*window).cuda()


def check(result: Any, read: Any, eager: Callable[[Any], Any]) -> None:
    """Raise if a result differs from torch's in float64 by more than rounding, block by block."""
    import torch

    tolerance = 2 * torch.finfo(result.dtype).eps
    result, read = (tensor.unsqueeze(0) if tensor.dim() == 2 else tensor for tensor in (result, read))
    for ours, theirs in zip(result.split(1), read.split(1), strict=True):
        # Contiguous: torch's gradient of channels-last inputs with padding is wrong on CUDA.
        exact = eager(theirs.double().contiguous())
        torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=4e-6)


def measured(arguments: dict[str, Any], against: list[str], backward: bool, rounds: int) -> dict[str, Any]:
    """Measure one problem: times, bandwidth and ratios."""
    import torch

    from benchmarks.timing import interleaved
    from tunedb.kernels.avg_pool import BACKWARD, FORWARD
    from tunedb.tuner import session

    functions = functions_of(arguments, against, backward)
    times = interleaved(functions, rounds)
    kernel = BACKWARD if backward else FORWARD
    choice = session.active().choose(kernel, kernel.problem(arguments), torch.cuda.current_device())
    ours, moved = times["ours"]["median_us"], problem_bytes(arguments)
    others = {name: time["median_us"] for name, time in times.items() if name not in ("ours", "copy")}
    return {
        "problem": arguments,
        "direction": "backward" if backward else "forward",
        "kernel_hash": kernel.hash,
        "config": choice.config.plain(),
        "source": choice.source,
        "bytes": moved,
        "times": times,
        "GB/s": round(moved / ours / 1e3, 1),
        "of_copy": round(times["copy"]["median_us"] / ours, 3) if "copy" in times else None,
        "over_fastest_other": round(ours / min(others.values()), 3) if others else None,
    }


def table(results: list[dict[str, Any]]) -> str:
    """Write a line for each problem, and the geometric mean over the large ones; skip figures of the host."""
    results = [result for result in results if "problem" in result]
    lines = [f"{'problem':22} {'direction':9} {'us':>9} {'GB/s':>7} {'of copy':>8} {'over fastest other':>19}  config"]
    for result in results:
        time_us, of_copy, other = result["times"]["ours"]["median_us"], result["of_copy"], result["over_fastest_other"]
        name, config = result["problem"].get("id", "?"), result["config"] or {}
        lines.append(
            f"{name:22} {result['direction']:9} {time_us:9.1f} {result['GB/s']:7.0f} {of_copy or 0:8.3f} "
            f"{other or 0:19.3f}  {' '.join(map(str, config.values()))}"
        )
    for direction in ("forward", "backward"):
        large = [
            r["of_copy"] for r in results if r["direction"] == direction and r["bytes"] >= LARGE_BYTES and r["of_copy"]
        ]
        if large:
            lines.append(f"{direction}: geometric mean over {len(large)} problems of 64 MiB and more: "
                         f"{geometric_mean(large):.3f} of copy")  # fmt: skip
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw bars per problem as fractions of the copy's speed, forward next to backward."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [result for result in results if "problem" in result and "copy" in result["times"]]
    directions = [name for name in ("forward", "backward") if any(r["direction"] == name for r in results)]
    problems = list(dict.fromkeys(r["problem"].get("id", "?") for r in results))
    names = [name for name in dict.fromkeys(n for r in results for n in r["times"]) if name != "copy"]
    figure, panels = pyplot.subplots(
        1, len(directions), figsize=(1.5 + 4.5 * len(directions), 0.36 * len(problems) + 1.6),
        sharey=True, squeeze=False,
    )  # fmt: skip
    height = 0.8 / len(names)
    for direction, axes in zip(directions, panels[0], strict=True):
        for r in (r for r in results if r["direction"] == direction):
            row, times = problems.index(r["problem"].get("id", "?")), r["times"]
            for number, name in enumerate(names):
                if name in times:
                    of_copy = times["copy"]["median_us"] / times[name]["median_us"]
                    axes.barh(row + (number + 0.5) * height - 0.4, of_copy, height, color=f"C{number}")
            axes.text(0.02, row + 0.5 * height - 0.4, f"{r['of_copy']:.2f}", va="center", fontsize=6, color="white")
        axes.axvline(1, color="black", linewidth=1)
        axes.set_title(direction)
        axes.set_xlabel("speed, of a copy of as many bytes (longer is faster)")
    panels[0][0].set_yticks(range(len(problems)), problems)
    panels[0][0].set_ylim(len(problems) - 0.5, -0.5)
    bars = [pyplot.Rectangle((0, 0), 1, 1, color=f"C{number}") for number in range(len(names))]
    figure.suptitle(results[0]["device"])
    figure.legend(bars, names, loc="lower center", ncols=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=110)


def parse(words: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.avg_pool1d", description=__doc__)
    parser.add_argument("--problems", type=Path, help="a file with one JSON object a line")
    parser.add_argument("--sample", action="append", default=[], help="SEED:COUNT, drawn by benchmarks/problems.py")
    parser.add_argument("--only", default="", help="ids of problems, with commas between them")
    parser.add_argument("--against", default="copy,eager", help="of copy, eager, compile, and files with a ModelNew")
    parser.add_argument("--backward", action="store_true", help="the gradient")
    parser.add_argument("--host", action="store_true", help="the host's time of repeated calls instead")
    parser.add_argument("--rounds", type=int, default=10, help="turns, of ten launches of each function")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no problem after as many")
    parser.add_argument("--json", type=Path, help="add the results to this file, and skip what it holds")
    parser.add_argument("--plot", type=Path, help="draw the results that the file then holds")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measure the problems that are missing, then print, write and draw all."""
    options = parse(words)
    results: list[dict[str, Any]] = (
        json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    )

    def keep() -> None:
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n")

    if options.host:
        from benchmarks.host import host_times
        from benchmarks.timing import provenance, require_gpu

        require_gpu()
        results.append(provenance() | host_times())
        keep()
        print(json.dumps(results[-1], indent=1))
        return
    if options.problems or options.sample:
        measure_missing(options, results, keep)
    print(table(results))
    if options.plot:
        plot(results, options.plot)


def wanted_problems(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the problems of the file, and those of each sample."""
    from benchmarks.problems import sample

    lines = options.problems.read_text().splitlines() if options.problems else []
    wanted = [json.loads(line) for line in lines if line.strip()]
    for seed, _, count in (words.partition(":") for words in options.sample):
        wanted += [problem for problem in sample(int(seed), int(count)) if problem not in wanted]
    return wanted


def measure_missing(options: argparse.Namespace, results: list[dict[str, Any]], keep: Callable[[], None]) -> None:
    """Add to the results each problem that they do not hold."""
    import torch

    from benchmarks.timing import provenance, require_gpu
    from tunedb.kernels.avg_pool import BACKWARD, FORWARD

    require_gpu()
    origin = provenance()
    kernel, direction = (BACKWARD, "backward") if options.backward else (FORWARD, "forward")
    measured_before = {
        json.dumps(result["problem"], sort_keys=True)
        for result in results
        if "problem" in result
        and (result["device"], result["direction"], result["kernel_hash"]) == (origin["device"], direction, kernel.hash)
    }
    wanted = wanted_problems(options)
    start = time.monotonic()
    for arguments in wanted:
        if options.only and arguments.get("id") not in options.only.split(","):
            continue
        if json.dumps(arguments, sort_keys=True) in measured_before or time.monotonic() - start > options.seconds:
            continue
        results.append(origin | measured(arguments, options.against.split(","), options.backward, options.rounds))
        keep()
        print(table(results[-1:]).splitlines()[1], flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
