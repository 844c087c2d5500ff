"""Leave one device out: what a config borrowed from another kind of GPU costs, against the default.

    python -m benchmarks.siblings --sweep h100.jsonl --sample 7:60 --seconds 540      # on each kind of GPU
    python -m benchmarks.siblings --compare h100.jsonl h200.jsonl --json siblings.json  # anywhere

The first tunes sampled poolings, each second one as its gradient, and a softmax, a layer norm and matrix products, each
at several sizes, and exports all trials; where it was cut off, the same command goes on. The second needs no GPU: for
each problem of a kind, the policy of `tunedb.tuner.siblings` chooses from the others' winners, and the time of that
config is the one that this GPU's own sweep measured, next to the winner and the default. `same`: the winner of the very
same problem. `near`: as if the others had not tuned it, the winner of the nearest problem that they have.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, quantiles
from typing import Any

from benchmarks import sibling_kernels
from benchmarks.cut_short import reopen
from tunedb import registry, settings
from tunedb.core.device import Device, Placement
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, TrialStatus
from tunedb.core.task import TuningTask
from tunedb.store import dump, load, open_store
from tunedb.store.empty import EmptyStore
from tunedb.tuner.choice_cache import ChoiceCache
from tunedb.tuner.nearest import MAX_DISTANCE
from tunedb.tuner.siblings import Nearness, Siblings, nearness

STORE = Path(__file__).parent.parent / "build" / "siblings.db"
WAYS = ("same", "near")

Row = dict[str, Any]


class Others(EmptyStore):
    """The sweeps of other devices; without those of one problem, if it is named."""

    def __init__(self, sweeps: Sequence[Sweep], without: Problem | None = None) -> None:
        self._sweeps = [sweep for sweep in sweeps if sweep.problem != without]

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices of a kernel's sweeps."""
        return list(dict.fromkeys(sweep.device for sweep in self._sweeps if sweep.kernel_hash == kernel_hash))

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of that identity."""
        return [s for s in self.get_kernel_sweeps(problem.kernel, device, kernel_hash) if s.problem == problem]

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the sweeps of a kernel on a device."""
        wanted = kernel, device, kernel_hash
        return [s for s in self._sweeps if (s.problem.kernel, s.device, s.kernel_hash) == wanted][:most]


class StoredKernel:
    """A kernel as a sweep knew it: its space are the configs that were tried."""

    def __init__(self, sweep: Sweep) -> None:
        self.name, self.hash = sweep.problem.kernel, sweep.kernel_hash
        self._configs = [trial.config for trial in sweep.trials]

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:  # noqa: ARG002 - a kernel's signature
        """Return the configs that were tried."""
        return self._configs

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Say whether two problems need the same kind of config: the installed kernel's word, else yes."""
        if self.name not in registry.kernel_names():
            return True
        return registry.kernel_named(self.name).is_alike(problem, other)


def borrowed(sweep: Sweep, others: Sequence[Sweep], way: str) -> Config | None:
    """Return the config that the policy borrows for a sweep's problem from other devices, however far they are."""
    store = Others(others, sweep.problem if way == "near" else None)
    found = Siblings(
        store, ChoiceCache(lambda: 0, time.monotonic, lambda: None), lambda _: sweep.environment, time.monotonic,
        within=Nearness.BACKEND, max_distance=MAX_DISTANCE if way == "near" else 0.0,
    )  # fmt: skip
    choice = found.choice(TuningTask(StoredKernel(sweep), sweep.problem, Placement(sweep.device, None)))  # type: ignore[arg-type]
    return None if choice is None else choice.config


def compared(sweeps: Sequence[Sweep]) -> list[Row]:
    """Return a row for each problem and each pair of devices: borrowed and default over tuned, of one sweep."""
    rows = []
    for sweep in sweeps:
        for device in dict.fromkeys(other.device for other in sweeps):
            near = nearness(sweep.device, device)
            others = [other for other in sweeps if other.device == device]
            if near is None or not any(other.problem == sweep.problem for other in others):
                continue
            times = {t.config: t.time_us for t in sweep.trials if t.status == TrialStatus.OK and t.time_us}
            row: Row = {
                "on": sweep.device.name, "from": device.name, "nearness": near.name.lower(),
                "kernel": sweep.problem.kernel, "problem": sweep.problem.plain(),
                "tuned": None if sweep.config is None else sweep.config.plain(),
                "default_over_tuned": _ratio(sweep.default_time_us, sweep.time_us),
            }  # fmt: skip
            for way in WAYS:
                config = borrowed(sweep, others, way)
                row[way] = None if config is None else config.plain()
                row[f"{way}_over_tuned"] = None if config is None else _ratio(times.get(config), sweep.time_us)
            rows.append(row)
    return rows


def _ratio(time_us: float | None, tuned_us: float | None) -> float | None:
    return round(time_us / tuned_us, 4) if time_us and tuned_us else None


def summary(rows: Sequence[Row]) -> Row:
    """Return the figures of each pair of devices, of all kernels and of each: borrowed and default over tuned."""
    figures: Row = {}
    for pair in dict.fromkeys((row["on"], row["from"], row["nearness"]) for row in rows):
        of_pair = [row for row in rows if (row["on"], row["from"], row["nearness"]) == pair]
        kernels = {"all": of_pair}
        for row in of_pair:
            kernels.setdefault(row["kernel"], []).append(row)
        figures[f"on {pair[0]}, from {pair[1]} ({pair[2]})"] = {
            kernel: {way: figure for way in WAYS if (figure := _figure(of_kernel, way)) is not None}
            for kernel, of_kernel in kernels.items()
        }
    return figures


def _figure(rows: Sequence[Row], way: str) -> Row | None:
    """Return the figures of a way to borrow, and those of the default on the same problems."""
    timed = [row for row in rows if row[f"{way}_over_tuned"] and row["default_over_tuned"]]
    if not timed:
        return None
    figure: Row = {"problems": len(timed)}
    for name, column in (("borrowed", f"{way}_over_tuned"), ("default", "default_over_tuned")):
        ratios = [row[column] for row in timed]
        nine_tenths = quantiles(ratios, n=10, method="inclusive")[-1] if len(ratios) > 1 else ratios[0]
        figure[f"{name}_over_tuned"] = {
            "geometric_mean": round(geometric_mean(ratios), 4), "nine_tenths": round(nine_tenths, 4),
            "worst": max(ratios),
        }  # fmt: skip
    figure["was_not_timed_here"] = sum(row[way] is not None and row[f"{way}_over_tuned"] is None for row in rows)
    figure["helps"] = figure["borrowed_over_tuned"]["geometric_mean"] < figure["default_over_tuned"]["geometric_mean"]
    return figure


def sweep_here(store: Path, samples: Sequence[str], seconds: float) -> None:
    """Tune the problems on the current device that the store lacks or has cut short, until the seconds have passed."""
    import tunedb
    from tunedb.cli import host_tasks
    from tunedb.cli.device import index_to_run_on
    from tunedb.runtime.current_device import placement_of

    index, until = index_to_run_on(), time.monotonic() + seconds
    placement = placement_of(index)
    store.parent.mkdir(parents=True, exist_ok=True)
    with open_store(str(store)) as opened:
        reopen(opened)
    with settings.using(store=str(store), shared=None, bundles="off", mode="tune", budget=seconds):
        for name, call in sibling_kernels.calls("cuda" if index >= 0 else "cpu"):
            if time.monotonic() < until:
                print(name, flush=True)
                call()
        if not tunedb.flush(30.0):
            raise SystemExit(f"The sweeps could not be written to {store}.")
        pooling = [
            TuningTask(kernel, kernel.problem(arguments), placement, arguments)
            for name, arguments in sibling_kernels.pooling(samples)
            for kernel in [registry.kernel_named(name)]
        ]
        with open_store(str(store)) as opened:
            left = max(0.0, until - time.monotonic())
            slots = host_tasks.slots_to_use(index, None, None)
            host_tasks.tune(pooling, opened, slots, keeps_order=True, budget=left, step=120.0)


def latest(sweeps: Sequence[Sweep]) -> list[Sweep]:
    """Return the last complete sweep of each problem on each device."""
    tuned = [sweep for sweep in sweeps if sweep.config is not None and sweep.complete]
    by_end = sorted(tuned, key=lambda sweep: (str(sweep.finished), sweep.uid))
    return list({(sweep.problem, sweep.device): sweep for sweep in by_end}.values())


def main(words: list[str] | None = None) -> None:
    """Sweep on this GPU and export, or compare what was exported on several."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.siblings", description=__doc__.splitlines()[0])
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--sweep", type=Path, metavar="FILE", help="tune on this GPU, and export to this file")
    work.add_argument("--compare", type=Path, nargs="+", metavar="FILE", help="exports of several GPUs")
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="poolings to tune")
    parser.add_argument("--store", type=Path, default=STORE, help="with --sweep: where the sweeps are kept")
    parser.add_argument("--seconds", type=float, default=540.0, help="with --sweep: start nothing new after so long")
    parser.add_argument("--json", type=Path, help="with --compare: where to write figures and rows")
    options = parser.parse_args(words)
    if options.sweep:
        sweep_here(options.store, options.sample or ["7:60"], options.seconds)
        with open_store(str(options.store)) as store:
            tuned = (sweep for sweep in store.iter_sweeps(with_trials=True) if sweep.leaves_its_store)
            print(dump(tuned, options.sweep, ordered=True), "sweeps written to", options.sweep.name)
        return
    sweeps = latest([sweep for file in options.compare for sweep in load(file).sweeps])
    rows = compared(sweeps)
    if not rows:
        raise SystemExit("No problem was swept on two devices of one backend.")
    figures = summary(rows)
    print(json.dumps(figures, indent=1))
    if options.json:
        environments = sorted({f"{s.device.name}: {s.environment.key}" for s in sweeps})
        facts = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "environments": environments}
        facts["command"] = f"python -m benchmarks.siblings --compare {' '.join(file.name for file in options.compare)}"
        options.json.write_text(json.dumps({**facts, "summary": figures, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
