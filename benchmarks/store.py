"""A store with many rows: the time of look-ups that are not in memory, and what listing and exporting need.

    python -m benchmarks.store [--problems 100000 --trials 500000] [--json OUT]

Builds such a store in a temporary folder, with one sweep per problem, and measures look-ups of random problems, each
as a process makes it at its first use of a problem, after a first round that brings the file into the page cache; and
listing and exporting, as functions and as commands, each in its own process, with its peak of resident memory (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.store import Store, open_store

DEVICE = Device("NVIDIA H200", "cuda", "sm_90", 132)
ENVIRONMENT = Environment("3.8.0", "2.13.0", "580.65.06", "1")
HASH = "c0ffee" + "0" * 58
START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 2000  # sweeps in a transaction
LOOK_UPS = 2000

# Each runs in its own process, so that its memory is measured alone; all of them need "open".
WORK = {
    "open": "pass",
    "list": "rows = sum(1 for _ in store.iter_sweeps())",
    "dump": "rows = dump(store.iter_sweeps(with_trials=True), os.devnull)",
    "tunedb ls": "command('ls', '--format', 'json')",
    "tunedb stats": "command('stats')",
    "tunedb export": "command('export', '-o', os.devnull)",
}
MEASURED = """
import contextlib, json, os, re, sys, time
from pathlib import Path
from tunedb import cli
from tunedb.store import dump, open_store
def command(*words):
    sys.argv[1:] = [*words, "--store", path]
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code, end.code
path, rows = sys.argv[1], None
store = open_store(path)
start = time.perf_counter()
{}
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])  # KiB
print(json.dumps({{"s": seconds, "rows": rows, "peak_mib": peak / 1024}}))
"""


def problem(n: int) -> Problem:
    """Return one of the problems, with as many facts as one of avg_pool1d."""
    return Problem.of(
        "avg_pool1d", rows=n % 1000 + 1, length=n // 1000 + 1, window=8, stride=1, padding=4, dtype_name="float32",
        layout="rows", aligned=True,
    )  # fmt: skip


def sweeps(problems: int, trials: int) -> Iterator[Sweep]:
    """Yield one sweep per problem; the trials are spread evenly over them."""
    for n in range(problems):
        count = trials * (n + 1) // problems - trials * n // problems
        tried = tuple(
            Trial(Config.of(BLOCK_OUT=128 << k, num_warps=4), "ok", 12.5 + k, 12.0, 14.0, 50, 0.5, 32, 0, 0)
            for k in range(count)
        )
        started = START + timedelta(seconds=n)
        yield Sweep(
            problem(n), DEVICE, HASH, ENVIRONMENT, "tuned", config=Config.of(BLOCK_OUT=128, num_warps=4), time_us=12.5,
            default_time_us=20.0, started=started, finished=started + timedelta(seconds=1), trials=tried,
            counts={"ok": count}, host="node7",
        )  # fmt: skip


def build(store: Store, problems: int, trials: int) -> float:
    """Fill the store, and return the seconds that it took."""
    start, batch = time.perf_counter(), []
    for sweep in sweeps(problems, trials):
        batch.append(sweep)
        if len(batch) == BATCH:
            store.put_sweeps(batch)
            batch.clear()
    store.put_sweeps(batch)
    return time.perf_counter() - start


def look_ups(store: Store, problems: int) -> dict[str, float]:
    """Return the milliseconds of look-ups of stored problems."""
    chosen = [problem(n) for n in random.Random(1).choices(range(problems), k=LOOK_UPS)]
    times_ms = []
    for turn in range(2):  # the first brings the pages into the cache
        times_ms = []
        for chosen_problem in chosen:
            start = time.perf_counter()
            stored = store.get_sweeps(chosen_problem, DEVICE, HASH)
            times_ms.append(1e3 * (time.perf_counter() - start))
            assert len(stored) == 1, turn
    fifths = statistics.quantiles(times_ms, n=5)
    return {
        "median_ms": statistics.median(times_ms),
        "p20_ms": fifths[0],
        "p80_ms": fifths[3],
        "look_ups": len(times_ms),
    }


def measured(path: Path, work: str) -> dict[str, float | None]:
    """Return seconds, rows and peak MiB of a piece of work on the store, in its own process."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(work), str(path)], capture_output=True, text=True, check=True
    )
    figures: dict[str, float | None] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=500_000)
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with open_store(str(path)) as store:
            figures: dict[str, Any] = {
                "date": datetime.now(UTC).strftime("%Y-%m-%d"),
                "command": " ".join(["python -m benchmarks.store", *(Path(word).name for word in sys.argv[1:])]),
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
                "cpus": os.cpu_count(),
                "problems": arguments.problems,
                "trials": arguments.trials,
                "build_s": build(store, arguments.problems, arguments.trials),
                "file_mib": path.stat().st_size / 2**20,
                "look_up": look_ups(store, arguments.problems),
            }
        figures |= {name: measured(path, work) for name, work in WORK.items()}
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
