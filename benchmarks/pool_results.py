"""Results of `benchmarks.avg_pool1d`: their file, one JSON object a line, and the figures and tables made of them.

    python -m benchmarks.pool_results FILE [--before OLD]

prints what the sampled problems reach, every problem on which another function is faster, and how the problems of the
file in `benchmarks/` compare with an older run.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any

from benchmarks.timing import interval

Row = dict[str, Any]

DIRECTIONS = ("forward", "backward")
LARGE_BYTES = 64 * 2**20  # moved: for fewer, the time to launch and latency count
# Another function is faster if neither the ratio nor the difference, each at the upper end of its interval, is below:
SLOWER_RATIO, MORE_US = 1.03, 0.3  # the difference counts under CUDA graphs


def load(path: Path) -> list[Row]:
    """Return the rows of a file, one JSON object a line or, as older files have it, one list; none if it is missing."""
    text = path.read_text() if path.exists() else ""
    rows: list[Row] = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return rows


def append(path: Path, row: Row) -> None:
    """Add a row to a file. It is replaced as a whole, so that an interrupted run leaves no part of a line."""
    new = path.with_name(f"{path.name}.new")
    new.write_text("".join(json.dumps(each) + "\n" for each in [*load(path), row]))
    new.replace(path)


def compared(times: Mapping[str, Sequence[float]]) -> Row:
    """Compare `ours` with the copy and with the fastest other, from each one's microseconds by turn.

    Ratios and differences are medians over the turns, which make the pairs, with their 95 % intervals. A function of
    one turn was far too slow to take part in the others.
    """
    ours = times["ours"]
    facts: Row = {"pairs": len(ours), "of_copy": None, "over_fastest_other": None}
    if "copy" in times:
        facts |= _with_interval("of_copy", [copy / mine for copy, mine in _pairs(times["copy"], ours)])
    others = {name: median(taken) for name, taken in times.items() if name not in ("ours", "copy")}
    if others:
        fastest = min(others, key=others.__getitem__)
        pairs = _pairs(ours, times[fastest])
        facts |= {"fastest_other": fastest}
        facts |= _with_interval("over_fastest_other", [mine / other for mine, other in pairs])
        facts |= _with_interval("more_us", [mine - other for mine, other in pairs])
    return facts


def _pairs(some: Sequence[float], others: Sequence[float]) -> list[tuple[float, float]]:
    """Return the pairs of two functions' turns; one turn of a slow function stands for all."""
    count = max(len(some), len(others))
    return list(
        zip(*(taken if len(taken) == count else [median(taken)] * count for taken in (some, others)), strict=True)
    )


def _with_interval(name: str, values: Sequence[float]) -> Row:
    return {name: round(median(values), 4), f"{name}_95": [round(end, 4) for end in interval(values)]}


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the last row of each problem and direction."""
    return list({key_of(row["problem"], row["direction"]): row for row in rows}.values())


def key_of(problem: Row, direction: str) -> tuple[str, str]:
    """Return what a problem and a direction are known by."""
    return json.dumps(problem, sort_keys=True), direction


def is_slower(row: Row) -> bool:
    """Say whether another function may be faster, by more than the interval of the comparison allows."""
    if row.get("over_fastest_other_95") is None:
        return False
    under_graphs = row["method"] == "graphs"
    return bool(
        row["over_fastest_other_95"][1] > SLOWER_RATIO and not (under_graphs and row["more_us_95"][1] <= MORE_US)
    )


def reached(rows: Sequence[Row], direction: str) -> Row | None:
    """Return what the large problems of a direction reach of a copy: geometric mean, lowest tenth, least."""
    of_copy = sorted(
        row["of_copy"]
        for row in rows
        if row["direction"] == direction and row["bytes"] >= LARGE_BYTES and row["of_copy"]
    )
    if not of_copy:
        return None
    tenths = quantiles(of_copy, n=10, method="inclusive") if len(of_copy) > 1 else of_copy
    return {
        "problems": len(of_copy), "geometric_mean": geometric_mean(of_copy), "nine_tenths": tenths[0],
        "each": of_copy[0],
    }  # fmt: skip


def summary(rows: Sequence[Row]) -> str:
    """Return the figures of a sample as Markdown: a table, then what is slower than another function."""
    found = {direction: reached(rows, direction) for direction in DIRECTIONS}
    heads = {"geometric_mean": "geometric mean", "nine_tenths": "nine tenths of them", "each": "each of them"}
    counts = " and ".join(str(found[name]["problems"]) for name in DIRECTIONS if found[name])  # type: ignore[index]
    lines = [f"| of a copy, {counts} problems of 64 MiB and more | forward | backward |", "|---|---|---|"]
    for name, head in heads.items():
        cells = (f"{facts[name]:.3f}" if (facts := found[direction]) else "" for direction in DIRECTIONS)
        lines.append(f"| {head} | {' | '.join(cells)} |")
    judged = [row for row in rows if row.get("over_fastest_other_95")]
    slower = [row for row in judged if is_slower(row)]
    cells = (
        f"{sum(row['direction'] == direction for row in slower)} of "
        f"{sum(row['direction'] == direction for row in judged)}"
        for direction in DIRECTIONS
    )
    lines += [f"| slower than the fastest other | {' | '.join(cells)} |", ""]
    for row in sorted(slower, key=lambda row: -row["over_fastest_other_95"][1]):
        low, high = row["over_fastest_other_95"]
        graphs = f", {row['more_us']:+.2f} µs in graphs" if row["method"] == "graphs" else ""
        lines.append(
            f"- {row['direction']} {described(row['problem'])}: {row['over_fastest_other']:.3f} ({low:.3f} to "
            f"{high:.3f}) of {row['fastest_other']}{graphs}; {row['config'] and row['config']['ALGORITHM']}"
        )
    return "\n".join(lines)


def weakest(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the large problems that reach the least of a copy."""
    large = [row for row in rows if row["bytes"] >= LARGE_BYTES and row["of_copy"]]
    return sorted(large, key=lambda row: float(row["of_copy"]))[:count]


def worst(rows: Sequence[Row], count: int = 10) -> str:
    """List the large problems that reach the least of a copy."""
    lines = []
    for row in weakest(rows, count):
        config = " ".join(map(str, (row["config"] or {}).values()))
        lines.append(f"- {row['of_copy']:.3f} {row['direction']} {described(row['problem'])}; {config}")
    return "\n".join(lines)


def described(problem: Row) -> str:
    """Describe a problem in a line."""
    window = [f"{name} {problem[key]}" for key, name in
              (("kernel_size", "k"), ("stride", "s"), ("padding", "p")) if problem.get(key)]  # fmt: skip
    switches = ["ceil"] * bool(problem.get("ceil_mode")) + ["uncounted"] * (not problem.get("count_include_pad", True))
    layout = [problem["layout"]] if problem.get("layout", "rows") != "rows" else []
    dtype = problem.get("dtype", "float32")
    return " ".join([problem.get("id", "?"), str(tuple(problem["shape"])), dtype, *window, *layout, *switches])


def changes(rows: Sequence[Row], before: Sequence[Row]) -> list[tuple[float, Row, Row]]:
    """Return by what factor the speed of a copy that a problem reaches has changed, the least first, with both rows."""
    old = {key_of(row["problem"], row["direction"]): row for row in latest(before)}
    pairs = [(row, old[key]) for row in rows if (key := key_of(row["problem"], row["direction"])) in old]
    both = [(row, then) for row, then in pairs if row["of_copy"] and then["of_copy"]]
    factors = [(row["of_copy"] / then["of_copy"], row, then) for row, then in both]
    return sorted(factors, key=lambda change: float(change[0]))


def before_and_after(rows: Sequence[Row], before: Sequence[Row]) -> str:
    """Compare the speeds of a copy that two runs of the same problems reach; below 0.98 a problem got slower."""
    lines = ["| problem | direction | before | now | ratio |", "|---|---|---|---|---|"]
    for factor, row, then in changes(rows, before):
        name = row["problem"].get("id", "?")
        lines.append(f"| {name} | {row['direction']} | {then['of_copy']:.3f} | {row['of_copy']:.3f} | {factor:.3f} |")
    return "\n".join(lines)


def algorithms(rows: Sequence[Row]) -> str:
    """Return a Markdown table of the algorithms: on how many problems each won, and what it reaches of a copy there."""
    won = Counter(name for name in map(_algorithm, rows) if name)
    lines = ["| `ALGORITHM` | forward | backward | of a copy (geometric mean) |", "|---|---|---|---|"]
    for name in sorted(won, key=lambda name: (-won[name], name)):  # of equal ones always in one order
        mine = [row for row in rows if _algorithm(row) == name]
        counts = (str(sum(row["direction"] == direction for row in mine)) for direction in DIRECTIONS)
        large = [row["of_copy"] for row in mine if row["of_copy"] and row["bytes"] >= LARGE_BYTES]
        mean = f"{geometric_mean(large):.2f}" if large else ""
        lines.append(f"| `{name}` | {' | '.join(counts)} | {mean} |")
    return "\n".join(lines)


def _algorithm(row: Row) -> str | None:
    return row["config"]["ALGORITHM"] if row["config"] else None


def stages(rows: Iterable[Row]) -> dict[str, float]:
    """Return the seconds that each stage of measuring took, over all results."""
    seconds: dict[str, float] = {}
    for row in rows:
        for stage, taken in row.get("seconds", {}).items():
            seconds[stage] = round(seconds.get(stage, 0) + taken, 1)
    return seconds


def main(words: list[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pool_results", description=__doc__)
    parser.add_argument("file", type=Path, help="what benchmarks.avg_pool1d wrote")
    parser.add_argument("--before", type=Path, help="the results of an older run")
    parser.add_argument("--worst", type=int, default=10, metavar="COUNT", help="how many of the weakest to list")
    options = parser.parse_args(words)
    rows = latest(load(options.file))
    print(summary(rows), worst(rows, options.worst), algorithms(rows), sep="\n\n")
    print("\nseconds:", json.dumps(stages(rows)))
    if options.before:
        print("", before_and_after(rows, load(options.before)), sep="\n")


if __name__ == "__main__":
    main()
