"""Average pooling on a GPU against a copy of the same bytes, and against others.

    python -m benchmarks.avg_pool1d --sample 7:30 --sample 8:30 --against copy,eager,compile,baseline \\
        --json benchmarks/results/avg_pool1d-sample-h100.jsonl --plot docs/avg_pool1d-h100.png
    python -m benchmarks.avg_pool1d --problems benchmarks/avg_pool1d.jsonl --json ...

A sample is drawn by `benchmarks/problems.py`; a problems file has one JSON object a line, as `tunedb warm --from` takes
it. Each problem is tuned first, and each result is checked against float64 before it is timed. All functions of a
problem are timed in turns, so that ratios come from one run: a turn of each makes a pair. Problems that move less than
8 MiB are timed in CUDA graphs, because a launch takes the host longer than the GPU. Candidates of later problems are
compiled while earlier ones are timed.

A line is added to the file for each result; what it holds for this device and these kernels is skipped, so that the
same command goes on after an interruption or after `--seconds`. `python -m benchmarks.pool_results` has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import pool_results
from benchmarks.pool_results import DIRECTIONS, Row, key_of
from benchmarks.problems import wanted

if TYPE_CHECKING:
    from benchmarks.ahead import CompiledAhead, Task

OTHERS = ("copy", "eager", "compile", "baseline")
ALIASES = {"seed": "baseline"}  # the kernel that the project started from
GRAPH_BYTES = 8 * 2**20  # moved: fewer are timed in CUDA graphs


class Stopwatch:
    """The seconds that the stages of one problem take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage], self._since = round(now - self._since, 3), now


def measured(arguments: Row, backward: bool, against: list[str], rounds: int, watch: Stopwatch) -> Row:
    """Measure one problem: times, bandwidth, and ratios with their intervals."""
    import torch

    from benchmarks.pooling import bytes_moved, functions_of
    from benchmarks.timing import CALLS_IN_GRAPH, in_graphs, raced, summary
    from tunedb.kernels.avg_pool import BACKWARD, FORWARD
    from tunedb.tuner import session

    functions, moved = functions_of(arguments, against, backward), bytes_moved(arguments, backward)
    is_small = moved < GRAPH_BYTES
    for name, function in functions.items():  # what is compiled at the first call
        function()
        torch.cuda.synchronize()
        watch.lap(name)
    turns = raced(in_graphs(functions) if is_small else functions, rounds)
    calls = CALLS_IN_GRAPH if is_small else 1
    turns = {name: [[time / calls for time in turn] for turn in taken] for name, taken in turns.items()}
    times = {name: summary([time for turn in taken for time in turn]) for name, taken in turns.items()}
    watch.lap("timing")
    kernel = BACKWARD if backward else FORWARD
    choice = session.active().choose(kernel, kernel.problem(arguments), torch.cuda.current_device())
    return {
        "problem": arguments,
        "seed": arguments["id"].split("-")[1] if arguments.get("id", "").startswith("seed-") else None,
        "direction": DIRECTIONS[backward],
        "kernel_hash": kernel.hash,
        "config": choice.config.plain(),
        "source": choice.source,
        "bytes": moved,
        "method": "graphs" if is_small else "launches",
        "times": times,
        "GB/s": round(moved / times["ours"]["median_us"] / 1e3, 1),
        **pool_results.compared({name: [median(turn) for turn in taken] for name, taken in turns.items()}),
        "seconds": watch.seconds,
    }


def table(results: list[Row]) -> str:
    """Write a line for each result."""
    lines = [f"{'problem':22} {'direction':9} {'us':>9} {'GB/s':>7} {'of copy':>8} {'over fastest other':>19}  config"]
    for result in results:
        time_us, of_copy, other = result["times"]["ours"]["median_us"], result["of_copy"], result["over_fastest_other"]
        name, config = result["problem"].get("id", "?"), result["config"] or {}
        lines.append(
            f"{name:22} {result['direction']:9} {time_us:9.1f} {result['GB/s']:7.0f} {of_copy or 0:8.3f} "
            f"{other or 0:19.3f}  {' '.join(map(str, config.values()))}"
        )
    return "\n".join(lines)


def missing_tasks(options: argparse.Namespace, results: list[Row], device: str) -> list[Task]:
    """Return the problems and directions that the results do not hold for this device and these kernels."""
    from tunedb.kernels.avg_pool import BACKWARD, FORWARD

    hashes = {"forward": FORWARD.hash, "backward": BACKWARD.hash}
    held = {
        key_of(row["problem"], row["direction"])
        for row in results
        if (row["device"], row["kernel_hash"]) == (device, hashes[row["direction"]])
    }
    only = options.only.split(",") if options.only else []
    directions = DIRECTIONS if options.direction == "both" else [options.direction]
    return [
        (problem, direction == "backward")
        for problem in wanted(options.problems, options.sample)
        for direction in directions
        if key_of(problem, direction) not in held and (not only or problem.get("id") in only)
    ]


def measure_missing(options: argparse.Namespace, results: list[Row]) -> Iterator[Row]:
    """Yield a result for each problem and direction that the results do not hold, until the time is over.

    One that fails is printed, and has no result.
    """
    start = time.monotonic()
    from benchmarks.timing import provenance, require_gpu

    require_gpu()
    import torch

    from benchmarks import ahead
    from benchmarks.pooling import release_memory

    os.environ |= ahead.INDUCTOR
    origin, against = provenance(), options.against
    tasks = missing_tasks(options, results, origin["device"])
    candidates = ahead.CompiledAhead(tasks, torch.cuda.current_device())
    try:
        if "compile" in against and len(tasks) > 1:
            ahead.warm_others(tasks)
            print(f"torch.compile took {time.monotonic() - start:.1f} s for all problems, ahead", flush=True)
        for number, (arguments, backward) in enumerate(tasks):
            if time.monotonic() - start > options.seconds:
                print(f"{len(tasks) - number} of {len(tasks)} results are left: run the same command again.")
                break
            watch = Stopwatch()
            try:
                tune(candidates, number, arguments, backward, watch)
                row = origin | measured(arguments, backward, against, options.rounds, watch)
            # A wrong result, too little memory, a compiler's error: the others are measured all the same.
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                print(f"{arguments.get('id', '?')} {DIRECTIONS[backward]} FAILED in {place.name} of "
                      f"{Path(place.filename).name}:{place.lineno}: {type(error).__name__}: {error}")  # fmt: skip
            else:
                yield row
            release_memory()
    finally:
        candidates.close()
        print(f"{time.monotonic() - start:.0f} s in all", flush=True)


def tune(candidates: CompiledAhead, number: int, arguments: Row, backward: bool, watch: Stopwatch) -> None:
    """Tune a problem unless it is stored, once its candidates are compiled."""
    import torch

    from benchmarks.ahead import CompiledPool
    from tunedb.core.task import TuningTask
    from tunedb.runtime.current_device import placement_of
    from tunedb.tuner import session

    candidates.wait(number)
    watch.lap("wait")
    kernel = CompiledPool(backward)
    placement = placement_of(torch.cuda.current_device())
    session.active().warm(TuningTask(kernel, kernel.problem(arguments), placement, arguments))
    watch.lap("tune")


def parse(words: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.avg_pool1d",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--problems", type=Path, help="a file with one JSON object a line")
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="several are possible")
    parser.add_argument("--only", default="", help="ids of problems, with commas between them")
    parser.add_argument(
        "--against", default="copy,eager", help="of copy, eager, compile, baseline (one load per tap), and files"
    )
    parser.add_argument("--direction", choices=[*DIRECTIONS, "both"], default="both")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each function")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no problem after as many")
    parser.add_argument("--json", type=Path, help="add the results to this file, and skip what it holds")
    parser.add_argument("--plot", type=Path, help="draw the results that the file then holds")
    options = parser.parse_args(words)
    options.against = [ALIASES.get(name, name) for name in options.against.split(",")]
    for name in options.against:
        if name not in OTHERS and not Path(name).is_file():
            parser.error(f"--against: expected some of {', '.join(OTHERS)}, or files with a ModelNew, got {name!r}")
    return options


def main(words: list[str] | None = None) -> None:
    """Measure the problems that are missing, then print, write and draw all."""
    options = parse(words)
    results = pool_results.load(options.json) if options.json else []
    if options.problems or options.sample:
        print(table([]))
        for row in measure_missing(options, results):
            results.append(row)
            if options.json:
                pool_results.append(options.json, row)
            print(table([row]).splitlines()[1], flush=True)
    print(pool_results.summary(pool_results.latest(results)))
    print("seconds:", json.dumps(pool_results.stages(results)))
    if options.plot:
        from benchmarks.pool_chart import plot

        plot(pool_results.latest(results), options.plot)


if __name__ == "__main__":
    main()
