"""Nsight Compute's counters of poolings, ours and that of another file.

    python -m benchmarks.counters --against FILE.py --json benchmarks/results/counters-h200.json
    python -m benchmarks.counters --worst 3 --results benchmarks/results/avg_pool1d-sample-h100.jsonl --json ...

The first measures the problem of the main job; the second the large ones that reach the least of a copy in these
results. FILE.py has a `ModelNew(kernel_size, stride, padding)` that launches one kernel. `ncu` must be installed and
allowed to read counters. It runs this module once for each, with `--run`, and does not lock the clocks. The problems
must be tuned already: the third launch of a process is measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import pool_results

METRICS = {
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "SM throughput, %",
    "launch__grid_size": "programs",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "active warps, %",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "DRAM throughput, %",
    "lts__t_sector_hit_rate.pct": "L2 hit rate, %",
    "smsp__inst_executed.sum": "warp instructions",
}
MAIN_JOB = {"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4}

Row = dict[str, Any]


def launch(arguments: Row, backward: bool, against: str | None) -> None:
    """Call the pooling three times; the last is the one that `ncu` measures."""
    import torch

    from benchmarks.pooling import others_of, ours_of, read_by

    read = read_by(arguments, backward)
    if against:
        (pool,) = others_of(arguments, read, [against], backward).values()
    else:
        pool = ours_of(arguments, read, backward)
    for _ in range(3):
        pool()
    torch.cuda.synchronize()


def counters(arguments: Row, backward: bool, against: str | None = None) -> dict[str, float]:
    """Return each metric of the last launch of a pooling kernel, by its plain name."""
    command = ["ncu", "--clock-control", "none", "--metrics", ",".join(METRICS), "--csv", "--kernel-name", "regex:pool"]
    command += ["--launch-skip", "2", "--launch-count", "1", sys.executable, "-m", "benchmarks.counters", "--run"]
    task = json.dumps([arguments, backward, against])
    done = subprocess.run([*command, task], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    values = {row["Metric Name"]: float(row["Metric Value"].replace(",", "")) for row in csv.DictReader(lines)}
    if not values:
        raise SystemExit(f"ncu measured nothing:\n{done.stdout}\n{done.stderr}")
    return {name: values[metric] for metric, name in METRICS.items()}


def worst(results: Path, count: int) -> list[Row]:
    """Return the counters of the large problems that reach the least of a copy."""
    found = []
    for row in pool_results.weakest(pool_results.latest(pool_results.load(results)), count):
        facts = {name: row[name] for name in ("problem", "direction", "config", "of_copy")}
        found.append(facts | {"ours": counters(row["problem"], row["direction"] == "backward")})
    return found


def main() -> None:
    """Measure, print the counters, and write them with --json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.counters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", help="a file with a ModelNew, or baseline")
    parser.add_argument("--results", type=Path, help="what benchmarks.avg_pool1d wrote")
    parser.add_argument("--worst", type=int, default=3, metavar="COUNT", help="how many of the results' weakest")
    parser.add_argument("--json", type=Path, help="write the counters here")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        launch(*json.loads(options.run))
        return
    from benchmarks.timing import provenance, require_gpu

    require_gpu()
    result: Row = provenance()
    if options.results:
        result["worst"] = worst(options.results, options.worst)
    else:
        result |= {"problem": MAIN_JOB, "ours": counters(MAIN_JOB, backward=False)}
        if options.against:
            result[Path(options.against).stem] = counters(MAIN_JOB, False, options.against)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
