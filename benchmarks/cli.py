"""How long commands take from their start to their end, each in a process of its own. Needs no GPU.

    python -m benchmarks.cli --json benchmarks/results/cli-2cores.json

The store has 200 sweeps of average pooling on the interpreter, one of them the problem that is asked for. With
`--bundled 2000` a bundle with so many more is named in the settings, and `ls` prints them too. Python keeps
compiled modules, in a folder of the benchmark's, and tunedb the kernel's hash: the first run of each command, which
fills both, is not counted. `seconds` is the median of the others and `least` the shortest; `cpu_s` is the median of the
processor's time, which other work on the machine changes less. `load` is that of the machine before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEPS = 200
PROBLEM = "avg_pool1d --shape 64,128,65536 --kernel-size 8"
COMMANDS = {
    "--help": 0.25,
    f"lookup {PROBLEM}": 0.5,
    f"explain {PROBLEM}": 0.5,
    "ls": 0.6,
    "ls --format json": 0.6,
}  # what each may take, in seconds, by the design


def make_sweeps(count: int, first: int) -> list[Any]:
    """Return sweeps of the installed kernel, each of another length of the rows, the longest first."""
    from tunedb.core.device import INTERPRETER, Environment
    from tunedb.core.sweep import Sweep, SweepStatus, Trial, TrialStatus, now
    from tunedb.kernels.avg_pool import FORWARD

    sweeps = []
    for number in range(first, first + count):
        problem = FORWARD.problem({"shape": [64, 128, 65536 - 8 * number], "kernel_size": 8})
        configs = FORWARD.space(problem, INTERPRETER)
        trials = [Trial(config, TrialStatus.OK, 10.0 + place) for place, config in enumerate(configs)]
        sweeps.append(
            Sweep(
                problem, INTERPRETER, FORWARD.hash, Environment("3.9.0", "2.13.0", "3.11", "wall-1"), SweepStatus.TUNED,
                config=configs[0], time_us=10.0, default_time_us=10.0, finished=now(), trials=trials,
                counts={"ok": len(trials)},
            )
        )  # fmt: skip
    return sweeps


def make_store(path: str) -> None:
    """Make the store, with the problem that is asked for."""
    from tunedb.store import open_store

    with open_store(path) as store:
        store.put_sweeps(make_sweeps(SWEEPS, 0))


def make_bundle(path: str, count: int) -> None:
    """Make a bundle of so many other problems."""
    from tunedb.store.bundle.writing import bundle_bytes

    Path(path).write_bytes(bundle_bytes(make_sweeps(count, SWEEPS), only_winners=True)[0])


def timed(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return the seconds that it took, and the processor's. Raises if it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "tunedb", *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Time every command, and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--bundled", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "TUNEDB_STORE": f"{folder}/t.db", "TUNEDB_CACHE": f"{folder}/cache", "PYTHONPYCACHEPREFIX": f"{folder}/pyc",
            "TRITON_INTERPRET": "1",
        }  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        make_store(environment["TUNEDB_STORE"])
        if asked.bundled:
            environment["TUNEDB_BUNDLES"] = f"{folder}/bundle.db"
            make_bundle(environment["TUNEDB_BUNDLES"], asked.bundled)
        report: dict[str, Any] = {
            "cores": os.cpu_count(), "python": platform.python_version(), "sweeps": SWEEPS, "bundled": asked.bundled,
            "runs": asked.runs, "load_before": round(os.getloadavg()[0], 2), "rows": [],
        }  # fmt: skip
        for command, limit in COMMANDS.items():
            timed(command.split(), environment)
            runs = [timed(command.split(), environment) for _ in range(asked.runs)]
            row = {
                "command": command,
                "seconds": round(statistics.median(took for took, _ in runs), 3),
                "least": round(min(took for took, _ in runs), 3),
                "cpu_s": round(statistics.median(cpu for _, cpu in runs), 3),
                "limit": limit,
            }
            report["rows"].append(row)
            print(row, flush=True)
        report["load_after"] = round(os.getloadavg()[0], 2)
    if asked.json is not None:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
