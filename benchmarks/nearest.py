"""How good a borrowed config is: leave one problem out, borrow from the nearest of the others, compare.

    tunedb warm --from shapes.jsonl --store tuned.db        # on the GPU
    python -m benchmarks.nearest --store tuned.db --json benchmarks/results/nearest-h200.json

Needs no GPU: the times are those of the stored trials, so that borrowed, default and tuned config of a problem were
measured in one sweep.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunedb.api import kernel_named
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.store import open_store
from tunedb.tuner.nearest import MAX_DISTANCE, nearest


def leave_one_out(sweeps: Sequence[Sweep], cut_off: float = MAX_DISTANCE) -> list[dict[str, Any]]:
    """A row a problem: what it would borrow, and the times of borrowed and default config over the tuned one's."""
    rows = []
    for sweep in sweeps:
        kernel = kernel_named(sweep.problem.kernel)
        others = [other for other in sweeps if other.problem != sweep.problem and other.device == sweep.device]
        space = set(kernel.space(sweep.problem, sweep.device))
        found = nearest(sweep.problem, others, kernel.is_alike, space.__contains__, cut_off)
        default = kernel.default(sweep.problem, sweep.device)
        row: dict[str, Any] = {"kernel": sweep.problem.kernel, "problem": sweep.problem.plain()}
        row |= {"tuned": _plain(sweep.config), "default_over_tuned": _ratio(sweep, default)}
        if found is None:
            row |= {"from": None, "distance": None, "borrowed": None, "borrowed_over_tuned": None}
        else:
            lender, far = found
            row |= {"from": lender.problem.plain(), "distance": round(far, 2), "borrowed": _plain(lender.config)}
            row["borrowed_over_tuned"] = _ratio(sweep, lender.config)
        rows.append(row)
    return rows


def _plain(config: Config | None) -> dict[str, Any] | None:
    return None if config is None else config.plain()


def _ratio(sweep: Sweep, config: Config | None) -> float | None:
    """The time of that config over the winner's, from the trials of one sweep."""
    times = {trial.config: trial.time_us for trial in sweep.trials}
    one, best = times.get(config), times.get(sweep.config)  # type: ignore[arg-type]  # None is in no trial
    return None if not one or not best else round(one / best, 4)


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the problems that borrow: geometric mean and worst of borrowed and of default over tuned."""
    borrowing = [row for row in rows if row["borrowed_over_tuned"] and row["default_over_tuned"]]
    found: dict[str, Any] = {"problems": len(rows), "that_borrow": len(borrowing)}
    for name in ("borrowed_over_tuned", "default_over_tuned"):
        values = [row[name] for row in borrowing]
        if values:
            found[name] = {"geometric_mean": round(geometric_mean(values), 4), "worst": max(values)}
    return found


def main() -> None:
    """Print a table and a summary, and write all with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nearest", description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, help="a store with the trials of several problems of a kernel")
    parser.add_argument("--kernel", default="avg_pool1d")
    parser.add_argument("--cut-off", type=float, default=MAX_DISTANCE)
    parser.add_argument("--json", help="where to write the figures")
    given = parser.parse_args()
    store = open_store(given.store, create=False)
    if store is None:
        raise SystemExit(f"Found no store at {given.store}.")
    latest = {sweep.problem: sweep for sweep in store.iter_sweeps(kernel=given.kernel, with_trials=True)}
    tuned = [sweep for sweep in latest.values() if sweep.status == "tuned"]
    rows = leave_one_out(tuned, given.cut_off)
    for row in rows:
        print(
            row["distance"],
            row["borrowed_over_tuned"],
            row["default_over_tuned"],
            row["problem"],
            row["from"],
            sep="\t",
        )
    found = summary(rows)
    print(json.dumps(found, indent=2))
    if given.json:
        environments = sorted({sweep.environment.key for sweep in tuned})
        facts = {"device": str(tuned[0].device), "environments": [json.loads(one) for one in environments]}
        facts |= {"date": max(str(sweep.finished)[:10] for sweep in tuned), "cut_off": given.cut_off}
        command = f"python -m benchmarks.nearest --store {Path(given.store).name} --kernel {given.kernel}"
        text = json.dumps({**facts, "command": command, "summary": found, "rows": rows}, indent=1)
        Path(given.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
