"""Quality of sweeps: cold wall time against triton.autotune, regret, repeatability, accuracy of times, memory.

    python -m benchmarks.sweep --json benchmarks/results/sweep-h200.json --seconds 500
    python -m benchmarks.sweep --json benchmarks/results/sweep-h200.json --parts cold --problems odd-rows tiles-odd
    python -m benchmarks.sweep --json benchmarks/results/sweep-sample-h100.json --sample 7:12 --sweeps 1

Per problem and in turns: five cold sweeps and one of `triton.autotune` over the same configs (`cold`), each in its own
process with empty compile caches, whose clock starts when torch and Triton are imported and the input is made; and
one long interleaved run of every config (`exhaustive`), against which the choices are judged. While one process is
measured, the next one only imports torch. What the file holds is not run again, and after `--seconds` nothing new is
started: the same command continues from there. Of a sample, the directions take turns: the first problem is measured
forward, the second one's gradient is, and so on.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.children import Child, begin, in_turn
from benchmarks.problems import wanted

if TYPE_CHECKING:
    from tunedb.kernels.avg_pool.tunable import AvgPool

SHAPES = Path(__file__).with_name("avg_pool1d.jsonl")
PROBLEMS: dict[str, dict[str, Any]] = {
    line.pop("id"): line for line in map(json.loads, SHAPES.read_text().splitlines())
}

# Chosen before anything was measured, one problem of each kind: short and long rows, wide windows, dtypes, layouts.
CHOSEN = ("kernelbench-44", "kernelbench-44-half", "kernelbench-44-small", "halve-overlap", "decomp-etth",
         "audio-envelope", "audio-frames", "odd-rows", "many-short-rows", "tiles-odd", "global",
         "channels-last")  # fmt: skip
SWEEPS, AUTOTUNES = 5, 1
GRADIENT = " backward"  # ends the name of a problem whose gradient is meant
EXHAUSTIVE_SECONDS = 10.0

Row = dict[str, Any]


def sampled(samples: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the drawn problems of samples by name, every second one as its gradient."""
    drawn = [problem for problem in wanted(None, samples) if problem["id"].startswith("seed-")]
    return {problem["id"] + GRADIENT * (number % 2): problem for number, problem in enumerate(drawn)}


def steps(parts: Sequence[str], sweeps: int = SWEEPS) -> Iterator[tuple[str, int]]:
    """Yield the steps of a problem in the order in which they run, each with its number."""
    if "cold" in parts:
        for number in range(sweeps):
            yield "ours", number
            if number < AUTOTUNES:
                yield "autotune", number
    if "exhaustive" in parts:
        yield "exhaustive", 0


def missing(
    rows: Sequence[Row], problems: Sequence[str], parts: Sequence[str], sweeps: int = SWEEPS
) -> list[tuple[str, str, int]]:
    """Return the problem, step and number of what the rows do not hold yet."""
    done = {(row["problem"], row["step"], row["number"]) for row in rows}
    needed = [(problem, step, number) for problem in problems for step, number in steps(parts, sweeps)]
    return [step for step in needed if step not in done]


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of each problem that has them, and over all problems."""
    problems: dict[str, dict[str, Any]] = {}
    for problem in dict.fromkeys(row["problem"] for row in rows):
        of = {
            step: [row for row in rows if (row["problem"], row["step"]) == (problem, step)]
            for step in ("ours", "autotune", "exhaustive")
        }
        facts: dict[str, Any] = {}
        if of["ours"] and of["autotune"]:
            seconds = {step: median(row["seconds"] for row in of[step]) for step in ("ours", "autotune")}
            facts |= {f"{step}_s": round(value, 2) for step, value in seconds.items()}
            facts["wall_over_autotune"] = round(seconds["ours"] / seconds["autotune"], 3)
        if of["ours"] and of["exhaustive"]:
            times = of["exhaustive"][0]["times_us"]
            chosen = [times[row["config"]] for row in of["ours"]]
            facts["regret"] = round(max(chosen) / min(times.values()) - 1, 4)
            facts["repeatability"] = round(max(chosen) / min(chosen) - 1, 4)
            facts["over_default"] = round(max(chosen) / times[of["exhaustive"][0]["default"]] - 1, 4)
            facts["stored_over_later"] = [round(row["time_us"] / times[row["config"]] - 1, 4) for row in of["ours"]]
            if of["autotune"]:
                facts["autotune_regret"] = round(
                    max(times[row["config"]] for row in of["autotune"]) / min(times.values()) - 1, 4
                )
        if of["ours"]:
            facts["choices"] = len({row["config"] for row in of["ours"]})
            facts["extra_bytes_over_needed"] = max(row["extra_bytes"] - row["needed_bytes"] for row in of["ours"])
            facts["left_bytes"] = max(row["left_bytes"] for row in of["ours"])
        problems[problem] = facts
    walls = [facts["wall_over_autotune"] for facts in problems.values() if "wall_over_autotune" in facts]
    regrets = sorted(facts["regret"] for facts in problems.values() if "regret" in facts)
    summary: dict[str, Any] = {"problems": len(problems)}
    if walls:
        mean = math.exp(sum(map(math.log, walls)) / len(walls))
        summary["wall_over_autotune"] = {"geometric_mean": round(mean, 3), "worst": max(walls)}
    if regrets:
        judged = [facts for facts in problems.values() if "regret" in facts]
        summary["regret"] = {
            "within_2_percent": round(sum(regret <= 0.02 for regret in regrets) / len(regrets), 3),
            "worst": regrets[-1],
        }
        summary["repeatability_worst"] = max(facts["repeatability"] for facts in judged)
        summary["over_default_worst"] = max(facts["over_default"] for facts in judged)
        summary["stored_over_later_worst"] = max(
            abs(change) for facts in judged for change in facts["stored_over_later"]
        )
    return {"summary": summary, "problems": problems}


def ours(kernel: AvgPool, arguments: dict[str, Any], folder: str) -> Row:
    """Make one cold sweep, as `tunedb.warm` does; memory is in bytes, beyond that of the workload's input."""
    import torch

    from tunedb import settings
    from tunedb.core.task import TuningTask
    from tunedb.runtime.current_device import placement_of
    from tunedb.store import open_store
    from tunedb.tuner.tuner import Tuner

    index = torch.cuda.current_device()
    problem = kernel.problem(arguments)
    task = TuningTask(kernel, problem, placement_of(index))
    probe = kernel.workload(problem, index)
    output_bytes, input_bytes = probe.written.nbytes, probe.read.untyped_storage().nbytes()
    probe.close()
    tuner = Tuner(settings.read({}), open_store(f"{folder}/tunedb.db"), locks=Path(folder))
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, start = torch.cuda.memory_allocated(), time.perf_counter()
    choice = tuner.warm(task)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    assert choice is not None
    assert choice.sweep is not None
    flush = 2 * torch.cuda.get_device_properties(index).L2_cache_size
    return {
        "seconds": seconds,
        "config": choice.config.key,
        "time_us": choice.sweep.time_us,
        "default_time_us": choice.sweep.default_time_us,
        "counts": dict(choice.sweep.counts),
        "order": [trial.config.key for trial in choice.sweep.trials].index(choice.config.key),
        "input_bytes": input_bytes,
        "needed_bytes": output_bytes + flush + input_bytes,
        "extra_bytes": torch.cuda.max_memory_allocated() - before,
        "left_bytes": torch.cuda.memory_allocated() - before,
    }


def autotune(kernel: AvgPool, arguments: dict[str, Any], folder: str) -> Row:  # noqa: ARG001 - all steps take the same arguments
    """Make one cold call of `triton.autotune` over the same configs, on tensors like those of a sweep."""
    import torch
    import triton

    from tunedb.runtime.current_device import device_of

    index = torch.cuda.current_device()
    problem, device = kernel.problem(arguments), device_of(index)
    workload, space = kernel.workload(problem, index), kernel.space(problem, device)
    launches = {config: workload.launch(config) for config in space}
    launch, names = launches[kernel.default(problem, device)], sorted(launches[space[0]].constants)
    configs = [triton.Config(dict(launch.constants), **launch.options) for launch in launches.values()]
    grids = {tuple(launch.constants[name] for name in names): launch.grid for launch in launches.values()}
    tuned = triton.autotune(configs, key=[])(launch.jit)
    others = {name: value for name, value in launch.keywords.items() if name not in (*names, *launch.options)}

    def grid(constants: dict[str, Any]) -> tuple[int, int, int]:
        return grids[tuple(constants[name] for name in names)]

    torch.cuda.synchronize()
    start = time.perf_counter()
    tuned[grid](*launch.arguments, **others)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    chosen = configs.index(tuned.best_config)
    return {"seconds": seconds, "config": space[chosen].key}


def exhaustive(kernel: AvgPool, arguments: dict[str, Any], folder: str) -> Row:  # noqa: ARG001 - all steps take the same arguments
    """Time every right config, in microseconds, in one long interleaved run."""
    import torch

    from benchmarks.timing import interleaved
    from tunedb.runtime.clock import clock_for, timing
    from tunedb.runtime.compile_pool import CompilePool, workers
    from tunedb.runtime.current_device import device_of

    index = torch.cuda.current_device()
    problem, device = kernel.problem(arguments), device_of(index)
    workload, space = kernel.workload(problem, index), kernel.space(problem, device)
    pool, clock = CompilePool(workload.prepare, space, workers(), workload.compile_job), clock_for(index)
    rough, launchers = 0.0, {}
    for config in space:
        pool.get(config)
        workload.compile(config)
        if workload.check(config) is None:
            launchers[config.key] = workload.launcher(config)
            rough += timing(clock, launchers[config.key]).median + 60  # and a flush
    pool.close()
    rounds = max(8, min(2000, int(EXHAUSTIVE_SECONDS * 1e6 / (rough * 5))))
    times = interleaved(launchers, rounds=rounds, each=5)
    return {
        "default": kernel.default(problem, device).key,
        "times_us": {key: summary["median_us"] for key, summary in times.items()},
        "samples": rounds * 5,
    }


def child(problem: str, arguments: dict[str, Any], step: str) -> Child:
    """Start the process of one step of a problem, with empty caches."""
    folder = tempfile.mkdtemp(prefix="sweep-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    direction = "backward" if problem.endswith(GRADIENT) else "forward"
    words = ["--one", json.dumps(arguments), direction, step, folder]
    return Child(["benchmarks.sweep", *words], {"TRITON_CACHE_DIR": f"{folder}/triton"})


def run_one(arguments: str, direction: str, step: str, folder: str) -> None:
    """Run one step in the child, and print its row."""
    import torch
    import triton  # noqa: F401 - loaded before the watch starts

    from tunedb.kernels.avg_pool.tunable import AvgPool

    begin()
    torch.zeros(1, device="cuda")
    run = {"ours": ours, "autotune": autotune, "exhaustive": exhaustive}[step]
    print(json.dumps(run(AvgPool(direction == "backward"), json.loads(arguments), folder)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing while time is left, write it after each step, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="sweep.json", help="the file that holds the figures, and gets new ones")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), help="of the file; twelve, unless sampled")
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="several are possible")
    parser.add_argument("--sweeps", type=int, default=SWEEPS, help="cold sweeps of a problem")
    parser.add_argument("--parts", nargs="+", default=["cold", "exhaustive"], choices=["cold", "exhaustive"])
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing new after as many")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        run_one(*options.one)
        return
    from benchmarks.timing import require_gpu

    require_gpu()
    path, start = Path(options.json), time.monotonic()
    run = datetime.now(UTC).isoformat(timespec="minutes")
    held = json.loads(path.read_text()) if path.exists() else {"rows": []}
    problems = {name: PROBLEMS[name] for name in options.problems or (() if options.sample else CHOSEN)}
    problems |= sampled(options.sample)
    left = missing(held["rows"], list(problems), options.parts, options.sweeps)
    answers = in_turn(partial(child, problem, problems[problem], step) for problem, step, _ in left)
    with contextlib.closing(answers):
        for problem, step, number in left:
            if time.monotonic() - start > options.seconds:
                break
            held["rows"].append({"problem": problem, "step": step, "number": number, "run": run, **next(answers)})
            if "device" not in held:
                from benchmarks.timing import provenance

                held = {**provenance(), **held}
            held |= figures(held["rows"])
            path.write_text(json.dumps(held, indent=1) + "\n")
            print(problem, step, number, json.dumps(held["problems"][problem]), flush=True)
    count = len(missing(held["rows"], list(problems), options.parts, options.sweeps))
    print(json.dumps(figures(held["rows"])["summary"], indent=2))
    print(f"{count} steps are left: run the same command again." if count else "Nothing is left to run.")


if __name__ == "__main__":
    main()
