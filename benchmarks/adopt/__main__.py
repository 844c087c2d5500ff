"""Kernels of other packages, adopted, against Triton's autotuner: first tuning, second process, host time of a call.

    python -m benchmarks.adopt --site DIR --json benchmarks/results/adopt-h200.jsonl --parts second --seconds 480
    python -m benchmarks.adopt --site DIR --json benchmarks/results/adopt-h200.jsonl --parts cold --packages liger

DIR holds the unpacked packages, if they are not installed: flash-linear-attention (fla-core), Liger-Kernel, GemLite.
Each measurement is a process of its own; sides take turns, and a line of the file holds one turn of all sides. While
one process is measured, the next ones import torch and Triton, which is not timed. What the file holds is not run
again, and after --seconds nothing new is started: the same command continues from there.

For second processes each kernel keeps --configs configs, on all sides alike, so that the preparation does not tune for
an hour; a process that finds its results stored does not care how many there were. First tunings have all configs.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.adopt import figures
from benchmarks.adopt.operations import DISTRIBUTIONS, operations, taken
from benchmarks.children import Child, ChildFailed, in_turn

Row = dict[str, Any]
SIDES = ("triton", "triton_cached", "tunedb")
KERNELS = {"fla": (1, 10, 60), "liger": (11,), "gemlite": (3,)}  # of a second process
COLD = {
    "fla": ("softmax", "layer_norm", "l2norm", "delta_rule", "retention"),
    "liger": ("dynamic_tanh", "swiglu_mlp"),
    "gemlite": ("few_rows",),
}
UNCACHED = 2  # pairs that also run Triton without its cache of results, which times every config again
STEADY_TURNS = 5
AHEAD = 2  # children that import torch meanwhile: that takes longer than many a measurement
PREPARING = 12  # processes at a time


def environment(side: str, folder: Path, site: str | None) -> dict[str, str]:
    """Return a child's environment. Compiled kernels are shared by the sides of a folder; results are not."""
    cached = "1" if side == "triton_cached" else "0"
    paths = [*([site] if site else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TRITON_CACHE_AUTOTUNING": cached,
        "FLA_CACHE_RESULTS": cached,  # the package asks for Triton's cache itself
        "TUNEDB_STORE": str(folder / "tunedb.db"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TUNEDB_BUDGET": "3600",
        "PYTHONWARNINGS": "ignore",
    }


class Children:
    """Starts children, and keeps what prepared second processes in a folder."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self._work, self._options = work, options
        self._kernels: dict[str, Row] = {}
        self._failed: set[str] = set()  # packages that could not be prepared

    def of(self, facts: Row) -> list[tuple[str, Callable[[], Child]]]:
        """Return what starts the children of a row, with their sides, in an order that rotates with its number."""
        package, number, step = facts["package"], facts["number"], facts["step"]
        if step == "cold":
            sides, task = self._options.sides, {"operations": [facts["operation"]], "configs": 0}
        else:
            sides = SIDES if step == "second" and number < UNCACHED else SIDES[1:]
            names, _ = self.taken(facts)
            task = {"operations": names, "configs": self._options.configs}
        task |= {"package": package, "step": "steady" if step == "steady" else "run"}
        return [(side, partial(self._start, side, task, is_cold=step == "cold")) for side in rotated(sides, number)]

    def taken(self, facts: Row) -> tuple[list[str], int]:
        """Return the operations of a row, and how many kernels they call."""
        return taken(self._prepared(facts["package"]), facts.get("kernels") or max(KERNELS[facts["package"]]))

    def _start(self, side: str, task: Row, *, is_cold: bool) -> Child:
        folder = Path(tempfile.mkdtemp(dir=self._work)) if is_cold else self._work / task["package"]
        words = ["benchmarks.adopt.child", json.dumps({"side": side, **task})]
        return Child(words, environment(side, folder, self._options.site))

    def _prepared(self, package: str) -> Row:
        """Return the kernels of each operation; at first in this folder, tune them on the sides that keep results.

        Several processes tune at a time: how good the chosen configs are makes no difference to a second process.
        """
        kept = self._work / package / "kernels.json"
        if package in self._failed:
            raise ChildFailed(f"{package} could not be prepared")
        if package not in self._kernels and not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            self._failed.add(package)  # until it is done
            counted = self._tune("triton_cached", "count", package, list(operations(package)))
            found = {name: names for row in counted for name, names in row["kernels"].items()}
            for name, error in ((name, error) for row in counted for name, error in row["failed"].items()):
                print(f"{package}: {name} is left out ({error})", file=sys.stderr, flush=True)
            kernels = {name: found[name] for name in operations(package) if name in found}
            names, _ = taken(kernels, max(KERNELS[package]))
            self._tune("tunedb", "run", package, names)
            kept.write_text(json.dumps(kernels))
            self._failed.remove(package)
        if package not in self._kernels:
            self._kernels[package] = json.loads(kept.read_text())
        return self._kernels[package]

    def _tune(self, side: str, step: str, package: str, names: Sequence[str]) -> list[Row]:
        task = {"step": step, "package": package, "configs": self._options.configs}
        parts = [part for start in range(PREPARING) if (part := list(names[start::PREPARING]))]
        children = [self._start(side, {**task, "operations": part}, is_cold=False) for part in parts]
        with ThreadPoolExecutor(PREPARING) as threads:
            return list(threads.map(Child.run, children))


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
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        for facts, turn in measured(Children(work, options), left, start + options.seconds):
            rows.append({**facts, "run": run, "sides": turn})
            write(path, rows[-1])
            print(json.dumps(facts), f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(figures.table(rows))


def measured(children: Children, left: list[Row], until: float) -> Iterator[tuple[Row, Row]]:
    """Yield the facts of each row with the sides' answers. Passes over a row of which a child fails."""
    while left:
        # Lazily: what a row needs is prepared when its first child is started.
        started = in_turn((start for facts in left for _, start in children.of(facts)), AHEAD)
        with contextlib.closing(started):
            for facts in left:
                left = left[1:]
                if time.monotonic() > until:
                    print("Time is up: run the same command again.")
                    return
                try:
                    turn = {side: next(started) for side, _ in children.of(facts)}
                    called = {"called": children.taken(facts)[1]} if facts["step"] == "second" else {}
                except ChildFailed as error:
                    print(f"{json.dumps(facts)} failed: {error}", file=sys.stderr, flush=True)
                    break
                yield {**facts, **called}, turn


if __name__ == "__main__":
    main()
