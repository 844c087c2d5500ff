"""Quality of the nearest tuned problem's config: leave one problem out, take the nearest of the others, compare.

    tunedb warm --from shapes.jsonl --store tuned.db        # on the GPU
    python -m benchmarks.nearest --store tuned.db --json benchmarks/results/nearest-h200.json

Needs no GPU: the times are those of the stored trials, so that the nearest's, the default and the tuned config of a
problem were measured in one sweep. In the results, "borrowed" is the config of the nearest tuned problem.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.registry import kernel_named
from tunedb.store import open_store
from tunedb.tuner.nearest import MAX_DISTANCE, nearest


def leave_one_out(sweeps: Sequence[Sweep], cut_off: float = MAX_DISTANCE) -> list[dict[str, Any]]:
    """Return a row for each problem: its nearest's config, and the times of that and the default over the tuned one."""
    rows = []
    for sweep in sweeps:
        kernel = kernel_named(sweep.problem.kernel)
        others = [other for other in sweeps if other.problem != sweep.problem and other.device == sweep.device]
        space = set(kernel.space(sweep.problem, sweep.device))
        nearest_sweep = nearest(sweep.problem, others, kernel.is_alike, space.__contains__, cut_off)
        default = kernel.default(sweep.problem, sweep.device)
        row: dict[str, Any] = {"kernel": sweep.problem.kernel, "problem": sweep.problem.plain()}
        row |= {"tuned": _plain(sweep.config), "default_over_tuned": _ratio(sweep, default)}
        if nearest_sweep is None:
            row |= {"from": None, "distance": None, "borrowed": None, "borrowed_over_tuned": None}
        else:
            other, distance = nearest_sweep
            row |= {"from": other.problem.plain(), "distance": round(distance, 2), "borrowed": _plain(other.config)}
            row["borrowed_over_tuned"] = _ratio(sweep, other.config)
        rows.append(row)
    return rows


def _plain(config: Config | None) -> dict[str, Any] | None:
    return None if config is None else config.plain()


def _ratio(sweep: Sweep, config: Config | None) -> float | None:
    """Return the time of that config over the winner's, from the trials of one sweep."""
    times = {trial.config: trial.time_us for trial in sweep.trials}
    time_us, best = times.get(config), times.get(sweep.config)  # type: ignore[arg-type]  # None is in no trial
    return None if not time_us or not best else round(time_us / best, 4)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return, over the problems that have a near one, geometric mean and worst of both configs over the tuned one."""
    borrowing = [row for row in rows if row["borrowed_over_tuned"] and row["default_over_tuned"]]
    result: dict[str, Any] = {"problems": len(rows), "that_borrow": len(borrowing)}
    for name in ("borrowed_over_tuned", "default_over_tuned"):
        values = [row[name] for row in borrowing]
        if values:
            result[name] = {"geometric_mean": round(geometric_mean(values), 4), "worst": max(values)}
    return result


def main() -> None:
    """Print a table and a summary, and write all with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nearest", description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="a store with the trials of several problems of a kernel")
    parser.add_argument("--kernel", default="avg_pool1d")
    parser.add_argument("--cut-off", type=float, default=MAX_DISTANCE)
    parser.add_argument("--json", help="where to write the figures")
    arguments = parser.parse_args()
    store = open_store(arguments.store, create=False)
    if store is None:
        raise SystemExit(f"There is no store at {arguments.store}.")
    latest = {sweep.problem: sweep for sweep in store.iter_sweeps(kernel=arguments.kernel, with_trials=True)}
    tuned = [sweep for sweep in latest.values() if sweep.status == "tuned"]
    rows = leave_one_out(tuned, arguments.cut_off)
    for row in rows:
        print(
            row["distance"],
            row["borrowed_over_tuned"],
            row["default_over_tuned"],
            row["problem"],
            row["from"],
            sep="\t",
        )
    result = summary(rows)
    print(json.dumps(result, indent=2))
    if arguments.json:
        environments = sorted({sweep.environment.key for sweep in tuned})
        facts = {"device": str(tuned[0].device), "environments": [json.loads(key) for key in environments]}
        facts |= {"date": max(str(sweep.finished)[:10] for sweep in tuned), "cut_off": arguments.cut_off}
        command = f"python -m benchmarks.nearest --store {Path(arguments.store).name} --kernel {arguments.kernel}"
        text = json.dumps({**facts, "command": command, "summary": result, "rows": rows}, indent=1)
        Path(arguments.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
