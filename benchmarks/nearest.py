"""What calls get for which nothing was tuned: the default config, or that of the nearest tuned problem.

    tunedb export -o sweeps.jsonl                                # on the GPU, after tuning
    python -m benchmarks.nearest --from sweeps.jsonl --sample 7:30 --json benchmarks/results/nearest-h100.json

Needs no GPU: times are those of the stored trials, so that the nearest's, the default's and the tuned config of a
problem were measured in one sweep. Defaults are those of the code as it is now. One problem after the other is left
out, and the nearest of the others found; "borrowed" is that one's config.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks.problems import wanted
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.registry import kernel_named
from tunedb.store import load, open_store
from tunedb.tuner.nearest import MAX_DISTANCE, nearest

KERNELS = ("avg_pool1d", "avg_pool1d_backward")

Row = dict[str, Any]


def leave_one_out(sweeps: Sequence[Sweep], cut_off: float = MAX_DISTANCE) -> list[Row]:
    """Return a row for each problem: its nearest's config, and the times of that and the default over the tuned one.

    A time is None if the sweep did not try the config, or if it failed.
    """
    rows = []
    for sweep in sweeps:
        kernel = kernel_named(sweep.problem.kernel)
        others = [other for other in sweeps if other.problem != sweep.problem and other.device == sweep.device]
        space = set(kernel.space(sweep.problem, sweep.device))
        nearest_sweep = nearest(sweep.problem, others, kernel.is_alike, space.__contains__, cut_off)
        default = kernel.default(sweep.problem, sweep.device)
        row: Row = {"kernel": sweep.problem.kernel, "problem": sweep.problem.plain()}
        row |= {"tuned": _plain(sweep.config), "default": _plain(default), "default_over_tuned": _ratio(sweep, default)}
        if nearest_sweep is None:
            row |= {"from": None, "distance": None, "borrowed": None, "borrowed_over_tuned": None}
        else:
            other, distance = nearest_sweep
            row |= {"from": other.problem.plain(), "distance": round(distance, 2), "borrowed": _plain(other.config)}
            row["borrowed_over_tuned"] = _ratio(sweep, other.config)
        rows.append(row)
    return rows


def _plain(config: Config | None) -> Row | None:
    return None if config is None else config.plain()


def _ratio(sweep: Sweep, config: Config | None) -> float | None:
    """Return the time of that config over the winner's, from the trials of one sweep."""
    times = {trial.config: trial.time_us for trial in sweep.trials}
    time_us, best = times.get(config), times.get(sweep.config)  # type: ignore[arg-type]  # None is in no trial
    return None if not time_us or not best else round(time_us / best, 4)


def summary(rows: Sequence[Row]) -> Row:
    """Return geometric mean and worst over the tuned config: of all defaults, and of both where there is a near one."""
    result: Row = {"problems": len(rows)}
    default = [row["default_over_tuned"] for row in rows if row["default_over_tuned"]]
    if default:
        result["default_over_tuned"] = _mean_and_worst(default)
    unmeasured = len(rows) - len(default)
    if unmeasured:
        result["default_was_not_timed"] = unmeasured
    borrowing = [row for row in rows if row["borrowed_over_tuned"] and row["default_over_tuned"]]
    result["that_borrow"] = len(borrowing)
    if borrowing:
        result["where_they_borrow"] = {
            name: _mean_and_worst([row[name] for row in borrowing])
            for name in ("borrowed_over_tuned", "default_over_tuned")
        }
    return result


def _mean_and_worst(values: Sequence[float]) -> Row:
    return {"geometric_mean": round(geometric_mean(values), 4), "worst": max(values)}


def worst_defaults(rows: Sequence[Row], names: dict[Problem, str], problems: Sequence[Problem], count: int) -> str:
    """List the problems on which the default is furthest from the tuned config, with both."""
    measured = [pair for pair in zip(problems, rows, strict=True) if pair[1]["default_over_tuned"]]
    lines = []
    for problem, row in sorted(measured, key=lambda pair: -float(pair[1]["default_over_tuned"]))[:count]:
        default, tuned = (" ".join(map(str, (row[name] or {}).values())) for name in ("default", "tuned"))
        name = names.get(problem, "")
        lines.append(f"  {row['default_over_tuned']:.3f}  {name} ({problem}): {default}; tuned: {tuned}")
    return "\n".join(lines)


def sweeps_in(store: str | None, file: Path | None) -> list[Sweep]:
    """Return the latest tuned sweep of each problem, with its trials, from a store or an export of one."""
    if file is not None:
        sweeps: Iterable[Sweep] = load(file).sweeps
    else:
        opened = open_store(str(store), create=False)
        if opened is None:
            raise SystemExit(f"There is no store at {store}.")
        sweeps = opened.iter_sweeps(with_trials=True)
    tuned = [sweep for sweep in sweeps if sweep.status == "tuned" and sweep.problem.kernel in KERNELS]
    latest = {(sweep.problem, sweep.device): sweep for sweep in sorted(tuned, key=lambda sweep: str(sweep.finished))}
    return list(latest.values())


def main(words: list[str] | None = None) -> None:
    """Print the summaries and the worst defaults, and write all with --json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nearest", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--store", help="a store with the trials of several problems")
    source.add_argument("--from", dest="file", type=Path, help="a file that `tunedb export` wrote")
    parser.add_argument("--kernel", action="append", choices=KERNELS, help="only this one")
    parser.add_argument("--sample", action="append", default=[], metavar="SEED:COUNT", help="only problems of these")
    parser.add_argument("--cut-off", type=float, nargs="+", default=[MAX_DISTANCE], help="largest distances to try")
    parser.add_argument("--worst", type=int, default=10, metavar="COUNT", help="how many of the worst to list")
    parser.add_argument("--json", type=Path, help="where to write the figures, for the first cut-off")
    options = parser.parse_args(words)
    kernels = options.kernel or KERNELS
    arguments = wanted(None, options.sample)
    names = {kernel_named(name).problem(given): given["id"] for given in arguments for name in kernels}
    sweeps = [
        sweep
        for sweep in sweeps_in(options.store, options.file)
        if sweep.problem.kernel in kernels and (not names or sweep.problem in names)
    ]
    if not sweeps:
        raise SystemExit("No sweep of these problems is there.")
    figures: Row = {}
    for kernel in kernels:
        chosen = [sweep for sweep in sweeps if sweep.problem.kernel == kernel]
        if not chosen:
            continue
        for cut_off in options.cut_off:
            rows = leave_one_out(chosen, cut_off)
            figures.setdefault(kernel, {"summary": summary(rows), "rows": rows})
            print(kernel, f"cut-off {cut_off:g}", json.dumps(summary(rows)))
        print(worst_defaults(rows, names, [sweep.problem for sweep in chosen], options.worst))
    if options.json:
        latest = max(sweeps, key=lambda sweep: str(sweep.finished))
        facts = {"device": latest.device.name, **json.loads(latest.environment.key)}
        facts |= {"date": str(latest.finished)[:10], "cut_off": options.cut_off[0]}
        facts |= {"command": f"python -m benchmarks.nearest --sample {' --sample '.join(options.sample)}"}
        options.json.write_text(json.dumps(facts | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
