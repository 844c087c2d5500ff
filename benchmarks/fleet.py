"""`tunedb warm` on all GPUs of a host against one of them: time, problems that were swept twice, and choices.

    python -m benchmarks.fleet --folder fleet --json benchmarks/results/fleet-h100-x4.json
    python -m benchmarks.fleet --folder fleet --stages compare --json benchmarks/results/fleet-h100-x4.json

Stage `prepare` compiles: it runs `tunedb warm` on all GPUs for one problem of each binary. Stage `one` then runs
`tunedb warm --devices 0` on a list of problems, stage `all` runs it on every GPU; each with an empty store and copies
of the caches that stage `prepare` left, Triton's and tunedb's, or without that stage empty ones, below --folder. The
entries of Triton's go on to name the files in `prepare`. Their `seconds` are those of the whole command, its start
included; `start_s` and `end_s` are before its first sweep and after its last. Stage `compare` then times, for each
problem, the config that each run chose, interleaved on one GPU. The stages may be run one after the other; the file
keeps what the others measured.

Problems are drawn: three of four are matrix products with sixty configs, whose sweeps take long, the others pooling of
`benchmarks.problems`, every second one as its gradient. What does not grow with the problems, such as the start, keeps
the speed-up below the number of GPUs: larger matrices (--sides) make it count less.

--problems FILE tunes the lines of a file instead, and --workers N runs in interpreters, without a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.problems import sample
from benchmarks.timing import provenance

Row = dict[str, Any]

MATRIX_NAME = "fleet_matmul"
ENTRY_POINTS = f"[tunedb.kernels]\n{MATRIX_NAME} = benchmarks.fleet_kernels:MATMUL\n"
SIDES = 16384, 32768  # of a product's result
DEPTHS = 2048, 8192
MAX_MULTIPLICATIONS = 2**42  # of one product, so that none takes a tenth of the time of all
SMALLEST = dict.fromkeys("mnk", 256)  # its binaries are those of all products: Triton knows only that 16 divides them
SHARE_OF_PRODUCTS = 0.75
STAGES = ("prepare", "one", "all", "compare")
ROUNDS, LAUNCHES = 20, 5  # of the comparison, by problem
CLOSE = 1.02  # a choice within it is as good


def drawn(seed: int, count: int, sides: tuple[int, int] = SIDES) -> Iterator[Row]:
    """Yield the lines of `count` problems, in random order."""
    source = random.Random(seed)
    products = round(count * SHARE_OF_PRODUCTS)
    lines: list[Row] = []
    while len(lines) < products:
        extents = [
            round(math.exp(source.uniform(*map(math.log, bounds))) / 16) * 16 for bounds in (sides, sides, DEPTHS)
        ]
        line = {"kernel": MATRIX_NAME} | dict(zip("mnk", extents, strict=True))
        if line not in lines and math.prod(extents) <= MAX_MULTIPLICATIONS:
            lines.append(line)
    pools = [problem for problem in sample(seed, count) if problem["id"].startswith("seed-")][: count - products]
    for number, problem in enumerate(pools):
        kernel = ("avg_pool1d", "avg_pool1d_backward")[number % 2]
        lines.append({"kernel": kernel, **{name: value for name, value in problem.items() if name != "id"}})
    source.shuffle(lines)
    yield from lines


def binaries(lines: Iterable[Row]) -> list[Row]:
    """Return lines whose sweeps compile all that those of these lines need."""
    products = [line for line in lines if line.get("kernel") == MATRIX_NAME]
    return [line for line in lines if line not in products] + [products[0] | SMALLEST for _ in products[:1]]


def register(folder: Path) -> str:
    """Make a distribution in a folder that registers the matrix product; return the PYTHONPATH that finds it."""
    info = folder / "fleet_kernels-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet_kernels\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(folder), str(Path(__file__).parent.parent), *([before] if before else [])])


def environment_of(folder: Path, stage: str) -> dict[str, str]:
    """Return the environment of a stage: stores and caches of its own, and bytecode as an installation leaves it."""
    own = folder / stage
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPATH": register(folder / "site"), "TUNEDB_STORE": str(own / "tunedb.db"),
        "TUNEDB_CACHE": str(own / "cache"), "TRITON_CACHE_DIR": str(own / "triton"),
    }  # fmt: skip


def warm(folder: Path, stage: str, words: Sequence[str]) -> Row:
    """Run `tunedb warm` with nothing stored; return its seconds, and when it began and ended."""
    shutil.rmtree(folder / stage, ignore_errors=True)
    (folder / stage).mkdir(parents=True)
    prepared = folder / "prepare"
    is_prepared = stage != "prepare" and (prepared / "triton").exists()
    if is_prepared:
        for cache in ("triton", "cache"):
            if (prepared / cache).exists():
                shutil.copytree(prepared / cache, folder / stage / cache)
    name = "binaries.jsonl" if stage == "prepare" else "problems.jsonl"
    command = [sys.executable, "-m", "tunedb", "warm", "--from", str(folder / name), "--forward-only",
               "--format", "json", *words]  # fmt: skip
    began = datetime.now(UTC)
    start = time.perf_counter()
    ran = subprocess.run(command, env=environment_of(folder, stage), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    (folder / stage / "progress.txt").write_text(ran.stderr)
    if ran.returncode not in (0, 1):
        raise SystemExit(f"tunedb warm ended with exit code {ran.returncode}:\n{ran.stderr}")
    rows = json.loads(ran.stdout)
    failed = sum(not row["config"] for row in rows)
    return {
        "seconds": round(seconds, 2), "problems": len(rows), "without_config": failed, "is_prepared": is_prepared,
        **facts_of(folder, stage, began, began + timedelta(seconds=seconds)),
    }  # fmt: skip


def facts_of(folder: Path, stage: str, began: datetime, ended: datetime) -> Row:
    """Return the sum of a run's sweeps in seconds, the longest, and how many of the problems were swept twice.

    `start_s` are the seconds before the first sweep, `end_s` those after the last one.
    """
    from tunedb.store import open_store

    with open_store(str(folder / stage / "tunedb.db")) as store:
        sweeps = [sweep for sweep in store.iter_sweeps() if sweep.finished and sweep.status == "tuned"]
    seconds = [(sweep.finished - sweep.started).total_seconds() for sweep in sweeps if sweep.finished]
    first, last = min(sweep.started for sweep in sweeps), max(sweep.finished for sweep in sweeps if sweep.finished)
    counts = Counter(sweep.problem for sweep in sweeps)
    return {
        "start_s": round((first - began).total_seconds(), 2), "end_s": round((ended - last).total_seconds(), 2),
        "sweeps_s": round(sum(seconds), 2), "longest_s": round(max(seconds, default=0.0), 2),
        "median_s": round(median(seconds or [0.0]), 2), "swept_twice": sum(count > 1 for count in counts.values()),
    }  # fmt: skip


def compare(folder: Path) -> Row:
    """Compare the choices in a process that finds the kernels, and what was compiled for the second run."""
    command = [sys.executable, "-m", "benchmarks.fleet", "--folder", str(folder), "--print-comparison"]
    ran = subprocess.run(command, env=environment_of(folder, "all"), stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"The comparison ended with exit code {ran.returncode}.")
    answer: Row = json.loads(ran.stdout.splitlines()[-1])
    return answer


def origin() -> Row:
    """Return the origin of figures: device, number of GPUs, cores, versions. Without a GPU it is empty."""
    import torch

    if not torch.cuda.is_available():
        return {}
    facts = provenance()
    del facts["command"]
    return facts | {"gpus": torch.cuda.device_count(), "cores": len(os.sched_getaffinity(0))}


def compared(folder: Path) -> list[Row]:
    """Time, for each problem, the configs that the two runs chose, interleaved; return a row for each problem."""
    from tunedb.core.problem import Problem
    from tunedb.registry import kernel_named
    from tunedb.runtime.clock import clock_for, own_clock, untraced
    from tunedb.runtime.current_device import current_index
    from tunedb.store import open_store

    chosen: dict[Problem, dict[str, Any]] = {}
    for stage in ("one", "all"):
        with open_store(str(folder / stage / "tunedb.db")) as store:
            for sweep in store.iter_sweeps():
                if sweep.config is not None:
                    chosen.setdefault(sweep.problem, {})[stage] = sweep.config
    index = current_index()
    if index is None:
        raise SystemExit("Stage compare needs a GPU, or TRITON_INTERPRET=1.")
    rows = []
    for line in map(json.loads, (folder / "problems.jsonl").read_text().splitlines()):
        kernel = kernel_named(line.pop("kernel"))
        problem = kernel.problem(line)  # some kernels make tensors only for problems that they made themselves
        configs = chosen.get(problem, {})
        if len(configs) < 2:
            continue
        ratio = 1.0
        if configs["one"] != configs["all"]:
            with untraced(index), closing(kernel.workload(problem, index)) as workload:
                launchers = {}
                for stage, config in configs.items():
                    workload.compile(config)
                    workload.check(config)  # runs it for the first time
                    launchers[stage] = workload.launcher(config)
                times = sampled(own_clock(kernel) or clock_for(index), launchers)
            ratio = times["all"] / times["one"]
        rows.append(
            {"kernel": kernel.name, "problem": problem.plain(), "ratio": round(ratio, 4)}
            | {stage: config.plain() for stage, config in sorted(configs.items())}
        )
    return rows


def sampled(clock: Any, launchers: Mapping[str, Any]) -> dict[str, float]:
    """Return the median microseconds of each launcher; they take turns."""
    samples: dict[str, list[float]] = {name: [] for name in launchers}
    for number in range(ROUNDS):
        for name in sorted(launchers, reverse=bool(number % 2)):
            samples[name] += clock.sample(launchers[name], LAUNCHES)
    return {name: median(values) for name, values in samples.items()}


def summary(figures: Row) -> Row:
    """Return what the stages say together, as far as they were run."""
    result: Row = {}
    if "one" in figures and "all" in figures:
        one, every = figures["one"], figures["all"]
        result["speedup"] = round(one["seconds"] / every["seconds"], 2)
        result["speedup_between_first_and_last_sweep"] = round(span(one) / span(every), 2)
        result["sweeps_slower_by"] = round(every["sweeps_s"] / one["sweeps_s"] - 1, 3)  # all sweeps of a run, added up
        result["longest_share"] = round(one["longest_s"] / one["sweeps_s"], 3)
        result["swept_twice"] = one["swept_twice"] + every["swept_twice"]
    if "compare" in figures:
        ratios = [row["ratio"] for row in figures["compare"]]
        result |= {
            "compared": len(ratios), "same_config": sum(row["one"] == row["all"] for row in figures["compare"]),
            "within_2_percent": round(sum(ratio <= CLOSE for ratio in ratios) / max(len(ratios), 1), 3),
            "worst_ratio": max(ratios, default=None),
        }  # fmt: skip
    return result


def span(figures: Row) -> float:
    """Return the seconds of a run between the start of its first sweep and the end of its last one."""
    seconds: float = figures["seconds"] - figures["start_s"] - figures["end_s"]
    return seconds


def main(words: list[str] | None = None) -> None:
    """Run the stages, and write the figures after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where stores and caches of the runs are")
    parser.add_argument("--stages", default=",".join(STAGES), help="of prepare, one, all, compare, with commas")
    parser.add_argument("--sample", default="16:48", metavar="SEED:COUNT", help="the problems that are drawn")
    parser.add_argument("--sides", default="{}:{}".format(*SIDES), metavar="LOW:HIGH", help="of products' results")
    parser.add_argument("--problems", type=Path, metavar="FILE", help="lines of problems, instead of a sample")
    parser.add_argument("--workers", type=int, help="interpreters instead of GPUs, in stage all")
    parser.add_argument("--print-comparison", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="the file that holds the figures, and gets new ones")
    options = parser.parse_args(words)
    if options.print_comparison:
        print(json.dumps({"origin": origin(), "rows": compared(options.folder)}))
        return
    stages = options.stages.split(",")
    if not set(stages) <= set(STAGES):
        parser.error(f"--stages: expected some of {', '.join(STAGES)}, got {options.stages}")
    options.folder.mkdir(parents=True, exist_ok=True)
    seed, _, count = options.sample.partition(":")
    if options.problems:
        text = options.problems.read_text()
    else:
        low, _, high = options.sides.partition(":")
        text = "".join(f"{json.dumps(line)}\n" for line in drawn(int(seed), int(count), (int(low), int(high))))
    (options.folder / "problems.jsonl").write_text(text)
    lines = binaries([json.loads(line) for line in text.splitlines()])
    (options.folder / "binaries.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    figures: Row = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for stage in stages:
        if stage == "compare":
            answer = compare(options.folder)
            figures |= answer["origin"] | {"compare": answer["rows"]}
        else:
            few = ["--workers", "1"] if options.workers else ["--devices", "0"]
            many = ["--workers", str(options.workers)] if options.workers else ["--devices", "all"]
            figures[stage] = warm(options.folder, stage, few if stage == "one" else many)
        figures |= {"sample": options.sample, "sides": options.sides, "summary": summary(figures)}
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n")
        print(stage, json.dumps(figures["summary"] if stage == "compare" else figures[stage]), flush=True)
    print(json.dumps(figures["summary"], indent=2))


if __name__ == "__main__":
    main()
