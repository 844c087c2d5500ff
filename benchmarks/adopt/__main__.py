"""Kernels of other packages, adopted, against Triton's autotuner: first tuning, second process, host time of a call.

    python -m benchmarks.adopt --site DIR --json benchmarks/results/adopt-h200.jsonl --parts second --seconds 480
    python -m benchmarks.adopt --site DIR --json benchmarks/results/adopt-h200.jsonl --parts cold --packages liger

DIR holds the unpacked packages, if they are not installed: flash-linear-attention (fla-core), Liger-Kernel, GemLite.
Each measurement is a process of its own; sides take turns, and a line of the file holds one turn of all sides. What
the file holds is not run again, and after --seconds nothing new is started: the same command continues from there.

For second processes each kernel keeps --configs configs, on all sides alike, so that the preparation does not tune for
an hour; a process that finds its results stored does not care how many there were. First tunings have all configs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.adopt import figures
from benchmarks.adopt.operations import DISTRIBUTIONS, operations, taken

Row = dict[str, Any]
SIDES = ("triton", "triton_cached", "tunedb")
KERNELS = {"fla": (1, 10, 60), "liger": (11,), "gemlite": (3,)}  # of a second process
STEADY = {"fla": 60, "liger": 11, "gemlite": 3}  # kernels whose operations are called repeatedly
COLD = {
    "fla": ("softmax", "layer_norm", "l2norm", "chunked_hgrn", "gated_delta_rule", "retention"),
    "liger": ("dynamic_tanh", "swiglu_mlp", "mixture_of_experts"),
    "gemlite": ("vector", "few_rows", "matrix"),
}
UNCACHED = 3  # pairs that also time Triton without its cache of results, which times every config again
STEADY_TURNS = 5


def environment(side: str, folder: Path, site: str | None) -> dict[str, str]:
    """Return a child's environment. Compiled kernels are shared by the sides of a folder; results are not."""
    cached = "1" if side == "triton_cached" else "0"
    paths = [*([site] if site else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TRITON_CACHE_AUTOTUNING": cached,
        "FLA_CACHE_RESULTS": cached,  # the package asks for Triton's cache itself
        "TUNEDB_STORE": str(folder / "tunedb.db"),
        "TUNEDB_BUDGET": "3600",
        "PYTHONWARNINGS": "ignore",
    }


class Runner:
    """Runs children, and keeps what prepared second processes in a folder."""

    def __init__(self, work: Path, site: str | None, configs: int) -> None:
        self._work, self._site, self._configs = work, site, configs
        self._kernels: dict[str, Row] = {}

    def child(self, side: str, folder: Path, **task: Any) -> Row:
        """Run one child and return the row that it printed."""
        words = ["-m", "benchmarks.adopt.child", json.dumps({"side": side, "configs": 0, **task})]
        done = subprocess.run(
            [sys.executable, *words], env=environment(side, folder, self._site), stdout=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"The child ended with {done.returncode}: python {words[0]} {words[1]} '{words[2]}'")
        row: Row = json.loads(done.stdout.splitlines()[-1])
        return row

    def kernels(self, package: str) -> Row:
        """Return the kernels of each operation; at first in this folder, tune them on the sides that keep results."""
        kept = self._work / package / "kernels.json"
        if package not in self._kernels and not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            most = max(*KERNELS[package], STEADY[package])
            task = {"package": package, "configs": self._configs, "operations": list(operations(package))}
            kernels = self.child("triton_cached", kept.parent, step="count", at_least=most, **task)["kernels"]
            task["operations"], _ = taken(kernels, most)
            self.child("tunedb", kept.parent, step="run", **task)
            kept.write_text(json.dumps(kernels))
        if package not in self._kernels:
            self._kernels[package] = json.loads(kept.read_text())
        return self._kernels[package]

    def second(self, package: str, at_least: int, number: int) -> Row:
        """Run a second process per side; the order rotates with the number."""
        names, called = taken(self.kernels(package), at_least)
        sides = SIDES if number < UNCACHED else SIDES[1:]
        task = {"step": "run", "package": package, "operations": names, "configs": self._configs}
        turns = {side: self.child(side, self._work / package, **task) for side in rotated(sides, number)}
        return {"called": called, "sides": turns}

    def steady(self, package: str, number: int) -> Row:
        """Time repeated calls on the two sides that keep results: Triton's repeated call is the same without."""
        names, _ = taken(self.kernels(package), STEADY[package])
        task = {"step": "steady", "package": package, "operations": names, "configs": self._configs}
        sides = rotated(SIDES[1:], number)
        return {"sides": {side: self.child(side, self._work / package, **task) for side in sides}}

    def cold(self, package: str, operation: str, number: int, sides: Sequence[str]) -> Row:
        """Tune an operation's kernels with all their configs, in an empty folder per side."""
        turns: Row = {}
        for side in rotated(sides, number):
            with tempfile.TemporaryDirectory(dir=self._work) as folder:
                turns[side] = self.child(side, Path(folder), step="run", package=package, operations=[operation])
        return {"sides": turns}


def rotated(sides: Sequence[str], number: int) -> list[str]:
    """Return the sides, beginning with another one for each number."""
    return [*sides[number % len(sides) :], *sides[: number % len(sides)]]


def wanted(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the facts of each row that the options ask for, in the order in which they are run."""
    for package in options.packages:
        for part in options.parts:
            if part == "cold":
                for operation in options.operations or COLD[package]:
                    for number in range(options.repeats):
                        yield {"step": part, "package": package, "operation": operation, "number": number}
            if part == "second":
                for kernels in options.kernels or KERNELS[package]:
                    for number in range(options.pairs):
                        yield {"step": part, "package": package, "kernels": kernels, "number": number}
            if part == "steady":
                for number in range(STEADY_TURNS):
                    yield {"step": part, "package": package, "number": number}


def missing(rows: Sequence[Row], facts: Iterator[Row]) -> list[Row]:
    """Return the facts of which the rows hold none."""
    return [row for row in facts if not any(row.items() <= held.items() for held in rows)]


def versions(site: str | None) -> dict[str, str]:
    """Return the versions of the packages that are found."""
    found = importlib.metadata.distributions(path=[*([site] if site else []), *sys.path])
    named = {each.metadata["Name"]: each.version for each in found}
    return {name: named[name] for name in DISTRIBUTIONS.values() if name in named}


def read(path: Path) -> list[Row]:
    """Return the rows of a file of JSON lines, none if it doesn't exist."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(path: Path, row: Row) -> None:
    """Append a row to the file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adopt", description=__doc__.splitlines()[0])
    parser.add_argument("--json", default="adopt.jsonl", help="the file that holds the rows, and gets new ones")
    parser.add_argument("--site", help="a folder with the unpacked packages")
    parser.add_argument("--work", help="a folder for what is prepared; a temporary one otherwise")
    parser.add_argument(
        "--parts", nargs="+", default=["cold", "second", "steady"], choices=["cold", "second", "steady"]
    )
    parser.add_argument("--packages", nargs="+", default=list(KERNELS), choices=list(KERNELS))
    parser.add_argument("--operations", nargs="+", help="of first tunings, instead of those of each package")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, help="of first tunings")
    parser.add_argument("--repeats", type=int, default=1, help="of each first tuning")
    parser.add_argument("--kernels", nargs="+", type=int, help="of second processes, instead of those of each package")
    parser.add_argument("--pairs", type=int, default=15, help="of second processes")
    parser.add_argument("--configs", type=int, default=2, help="of each kernel of second processes and repeated calls")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start nothing new after as many")
    parser.add_argument("--table", action="store_true", help="print the tables of the file and end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing while time is left, append each row, and print the tables."""
    options = parsed(arguments)
    path, start = Path(options.json), time.monotonic()
    rows = read(path)
    left = [] if options.table else missing(rows, wanted(options))
    if left:
        from benchmarks.timing import provenance, require_gpu

        require_gpu()
        run = datetime.now(UTC).isoformat(timespec="seconds")
        rows.append({"step": "provenance", "run": run, **provenance(), "packages": versions(options.site)})
        write(path, rows[-1])
    with tempfile.TemporaryDirectory() as temporary:
        runner = Runner(Path(options.work or temporary), options.site, options.configs)
        for facts in left:
            if time.monotonic() - start > options.seconds:
                print("Time is up: run the same command again.")
                break
            measured = measure(runner, facts, options.sides)
            rows.append({**facts, "run": run, **measured})
            write(path, rows[-1])
            print(json.dumps(facts), f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(figures.table(rows))


def measure(runner: Runner, facts: Row, sides: Sequence[str]) -> Row:
    """Measure one row."""
    package, number = facts["package"], facts["number"]
    if facts["step"] == "cold":
        return runner.cold(package, facts["operation"], number, sides)
    if facts["step"] == "second":
        return runner.second(package, facts["kernels"], number)
    return runner.steady(package, number)


if __name__ == "__main__":
    main()
