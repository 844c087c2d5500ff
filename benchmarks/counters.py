"""Nsight Compute's counters of one pooling, ours and that of another file.

    python -m benchmarks.counters --against FILE.py --json benchmarks/results/counters-h200.json

FILE.py has a `ModelNew(kernel_size, stride, padding)` that launches one kernel. `ncu` must be installed and allowed to
read counters. It runs this module once for each, with `--run`, and does not lock the clocks.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

METRICS = {
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "SM throughput, %",
    "launch__grid_size": "programs",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "active warps, %",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "DRAM throughput, %",
    "lts__t_sector_hit_rate.pct": "L2 hit rate, %",
    "smsp__inst_executed.sum": "warp instructions",
}
SHAPE, WINDOW = (64, 128, 65536), (8, 1, 4)  # the problem of the main job


def launch(against: str | None) -> None:
    """Call the pooling three times; the last is the one that `ncu` measures."""
    import torch

    from benchmarks.avg_pool1d import load_model
    from tunedb.kernels import avg_pool1d

    x = torch.randn(SHAPE, device="cuda")
    pool = load_model(against, *WINDOW) if against else lambda tensor: avg_pool1d(tensor, *WINDOW)
    for _ in range(3):
        pool(x)
    torch.cuda.synchronize()


def counters(against: str | None) -> dict[str, float]:
    """Return each metric of the last launch of a pooling kernel, by its plain name."""
    command = ["ncu", "--clock-control", "none", "--metrics", ",".join(METRICS), "--csv", "--kernel-name", "regex:pool"]
    command += ["--launch-skip", "2", "--launch-count", "1", sys.executable, "-m", "benchmarks.counters", "--run"]
    done = subprocess.run([*command, *([against] if against else [])], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('"')]
    values = {row["Metric Name"]: float(row["Metric Value"].replace(",", "")) for row in csv.DictReader(lines)}
    if not values:
        raise SystemExit(f"ncu measured nothing:\n{done.stdout}\n{done.stderr}")
    return {name: values[metric] for metric, name in METRICS.items()}


def main() -> None:
    """Measure both, print them, and write them with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counters", description=__doc__)
    parser.add_argument("--against", help="a file with a ModelNew")
    parser.add_argument("--json", type=Path, help="write the counters here")
    parser.add_argument("--run", nargs="?", const="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run is not None:
        launch(arguments.run or None)
        return
    from benchmarks.timing import provenance, require_gpu

    require_gpu()
    result: dict[str, Any] = provenance() | {"shape": SHAPE, "window": WINDOW, "ours": counters(None)}
    if arguments.against:
        result[Path(arguments.against).stem] = counters(arguments.against)
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
