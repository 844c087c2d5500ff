"""Fills the figures of average pooling into the documents, from the results in `benchmarks/results/`.

    python -m benchmarks.pool_docs

A document has a figure between `<!-- figures: NAME -->` and `<!-- end -->`. What has no results stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks import compiled, pool_results
from benchmarks.pool_chart import plot
from benchmarks.pool_results import DIRECTIONS, Row
from benchmarks.problems import FIXED

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
DOCUMENTS = tuple(ROOT / name for name in ("README.md", "docs/benchmarks.md", "docs/guide/average-pooling.md"))
BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

CHART, COMPILED = "avg_pool1d-h100.png", "compiled.json"
SAMPLED, FILE = "avg_pool1d-sample-h100.jsonl", "avg_pool1d-file-h100.jsonl"
BEFORE = "avg_pool1d-file-before-h100.jsonl"  # the kernels before samples were the measure, in the same run as FILE
UNTUNED, SWEEPS, HOST = "nearest-h100.json", "sweep-sample-h100.json", "host-h100.jsonl"
NAMES = {
    "copy": "device-to-device copy of as many bytes", "ours": "`tunedb.kernels.avg_pool1d`",
    "compile": "`torch.compile` of torch's", "baseline": "a plain Triton kernel, one load per tap",
    "eager": "torch, eager",
}  # fmt: skip
KERNELS = {"forward": "avg_pool1d", "backward": "avg_pool1d_backward"}


def sampled() -> list[Row]:
    """Return the results of the samples."""
    return pool_results.latest(pool_results.load(RESULTS / SAMPLED))


def read(name: str) -> Row:
    """Return the JSON object of a results file; an empty one if it is missing."""
    path = RESULTS / name
    contents: Row = json.loads(path.read_text()) if path.exists() else {}
    return contents


def untuned() -> dict[str, Row]:
    """Return the summaries of untuned calls by direction, of a file that has both."""
    figures = read(UNTUNED)
    return {name: figures[kernel]["summary"] for name, kernel in KERNELS.items() if kernel in figures}


def chart(folder: str) -> str:
    """Return the chart, whose file lies in that folder as seen from the document."""
    alt = "Speed of sampled average poolings as a fraction of a copy's, forward and backward"
    return f"![{alt}]({folder}{CHART})\n"


def origin(facts: Row, name: str) -> str:
    """Return the sentence that says on what and when the results of a file were measured."""
    versions = [f"driver {facts['driver']}", f"torch {facts['torch'].partition('+')[0]}", f"Triton {facts['triton']}"]
    where = f"On one {facts['device']} ({', '.join(versions)}), {facts['date']}"
    return f"{where}: [{name}](../benchmarks/results/{name}).\n"


def measured(link: str = "") -> str | None:
    """Return the table of what the samples reach, in short; `link` follows its head."""
    rows = sampled()
    if not rows:
        return None
    found = [pool_results.reached(rows, direction) for direction in DIRECTIONS]
    count = len(rows) // 2
    head = f"{count} average poolings, {count - len(FIXED)} of them drawn at random, on one {rows[0]['device']}{link}"
    lines = [f"| {head} | forward | backward |", "|---|---|---|"]
    cells = [f"{facts['geometric_mean']:.2f}; {facts['nine_tenths']:.2f}" if facts else "" for facts in found]
    lines.append(
        _line("speed over that of a copy of as many bytes, 64 MiB and more: geometric mean; nine in ten reach", cells)
    )
    lines.append(
        _line("problems where torch, `torch.compile` or a plain Triton kernel may be faster", slower_by_direction(rows))
    )
    defaults = untuned()
    if defaults:
        ratios = [_ratio(defaults.get(name, {}).get("default_over_tuned")) for name in DIRECTIONS]
        lines.append(_line("time with the default config over time with the tuned one, geometric mean", ratios))
    main_job = [times_of(rows, "kernelbench-44", direction) for direction in DIRECTIONS]
    cells = [", ".join(f"{times[name]:.0f}" for name in ("ours", "compile", "eager")) + " µs" if times else ""
             for times in main_job]  # fmt: skip
    lines.append(
        _line("(64, 128, 65536), kernel 8, stride 1, padding 4, float32: tunedb, `torch.compile`, torch", cells)
    )
    return "\n".join(lines) + "\n"


def slower_by_direction(rows: Sequence[Row]) -> list[str]:
    """Return on how many of the problems another function may be faster, forward and backward."""
    judged = [row for row in rows if row.get("over_fastest_other_95")]
    of = {name: [row for row in judged if row["direction"] == name] for name in DIRECTIONS}
    return [f"{sum(map(pool_results.is_slower, of[name]))} of {len(of[name])}" for name in DIRECTIONS]


def times_of(rows: Sequence[Row], name: str, direction: str) -> dict[str, float] | None:
    """Return the median microseconds of each function on the problem of that id."""
    for row in rows:
        if (row["problem"].get("id"), row["direction"]) == (name, direction):
            return {function: times["median_us"] for function, times in row["times"].items()}
    return None


def readme() -> str | None:
    """Return the README's chart and table."""
    table = measured(" ([how, and what is slower](docs/benchmarks.md))")
    return table and f"{chart('docs/')}\n{table}"


def pooling() -> str | None:
    """Return the chart, the figures of the samples, and the weakest problems."""
    rows = sampled()
    if not rows:
        return None
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None}, key=int)
    weakest = f"The weakest:\n\n{pool_results.worst(rows, 8)}"
    table = pool_results.summary(rows).rstrip()
    return f"{chart('')}\n{table}\n\n{weakest}\n\nSeeds {' and '.join(seeds)}. {origin(rows[-1], SAMPLED)}"


def main_problem() -> str | None:
    """Return the table of the main job's problem: every function's time."""
    found = [times_of(sampled(), "kernelbench-44", direction) for direction in DIRECTIONS]
    if not all(found):
        return None
    lines = ["| | forward | backward |", "|---|---|---|"]
    for name, text in NAMES.items():
        lines.append(_line(text, [f"{times[name]:.0f} µs" if times and name in times else "" for times in found]))
    return "\n".join(lines) + "\n"


def problems_of_the_file() -> str | None:
    """Return how the problems of the file compare with the run before."""
    rows, before = (pool_results.latest(pool_results.load(RESULTS / name)) for name in (FILE, BEFORE))
    if not rows:
        return None
    lines = ["| the 25 problems of the file | forward | backward |", "|---|---|---|"]
    found = [pool_results.reached(rows, direction) for direction in DIRECTIONS]
    lines.append(
        _line("speed as a fraction of a copy's, geometric mean", [f"{f['geometric_mean']:.3f}" for f in found if f])
    )
    changes = pool_results.before_and_after(rows, before).splitlines()[2:]
    ratios = [[float(line.split("|")[-2]) for line in changes if f"| {name} |" in line] for name in DIRECTIONS]
    means = [f"{geometric_mean(each):.3f}" for each in ratios]
    lines.append(_line("over that of the kernels before, measured in the same run, geometric mean", means))
    lines.append(_line("the same, lowest", [f"{min(each):.3f}" for each in ratios]))
    return "\n".join(lines) + f"\n\n{origin(rows[-1], FILE)}"


def defaults() -> str | None:
    """Return what untuned calls get, over tuned ones."""
    found = untuned()
    if not found:
        return None
    lines = [
        "| over the tuned config's time: geometric mean, worst | problems | forward | backward |",
        "|---|---|---|---|",
    ]
    for text, names in (
        ("default config", ("default_over_tuned",)),
        ("borrowed config, where a near problem is tuned", ("where_they_borrow", "borrowed_over_tuned")),
        ("default config, there", ("where_they_borrow", "default_over_tuned")),
    ):
        counted = "problems" if len(names) == 1 else "that_borrow"
        cells = []
        for direction in DIRECTIONS:
            facts: Any = found.get(direction, {})
            for name in names:
                facts = (facts or {}).get(name)
            cells.append(f"{facts['geometric_mean']:.2f}, {facts['worst']:.2f}" if facts else "")
        counts = " and ".join(str(found[direction][counted]) for direction in DIRECTIONS if direction in found)
        lines.append(f"| {text} | {counts} | {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{origin(read(UNTUNED), UNTUNED)}"


def sweeps() -> str | None:
    """Return the quality of sweeps of sampled problems."""
    results = read(SWEEPS)
    facts = results.get("summary")
    if not facts:
        return None
    wall, regret = facts["wall_over_autotune"], facts["regret"]
    return "\n".join([
        f"| cold sweeps of {facts['problems']} sampled problems | |", "|---|---|",
        f"| time, over that of `triton.autotune` with the same configs | {wall['geometric_mean']:.2f} (geometric "
        f"mean), {wall['worst']:.2f} at worst |",
        f"| chosen config within 2 % of the best one | {regret['within_2_percent']:.0%} of the problems; "
        f"{regret['worst']:.1%} behind at worst |",
        f"| chosen config against the default | {max(facts['over_default_worst'], 0):.1%} slower at worst |",
    ]) + f"\n\n{origin(results, SWEEPS)}"  # fmt: skip


def host() -> str | None:
    """Return what calls cost the host, against torch's."""
    rows = pool_results.load(RESULTS / HOST)
    if not rows:
        return None
    from benchmarks.host import table

    return f"{table(rows)}\n\n{origin(rows[0], HOST)}"


def on_sm_89() -> str | None:
    """Return the overview of what the algorithms need on sm_89."""
    rows = read(COMPILED).get("rows", [])
    if not rows or "direction" not in rows[0]:  # an older file
        return None
    return compiled.overview(rows) + "\n"


def algorithms() -> str | None:
    """Return on how many of the sampled problems each algorithm won."""
    rows = sampled()
    return pool_results.algorithms(rows) + "\n" if rows else None


def _line(text: str, cells: Sequence[str]) -> str:
    return f"| {text} | {' | '.join(cells)} |"


def _ratio(facts: Row | None) -> str:
    return f"{facts['geometric_mean']:.2f}" if facts else ""


FIGURES: dict[str, Callable[[], str | None]] = {
    "readme": readme,
    "measured": measured,
    "pooling": pooling,
    "main-problem": main_problem,
    "file": problems_of_the_file,
    "defaults": defaults,
    "sweeps": sweeps,
    "sm-89": on_sm_89,
    "host": host,
    "algorithms": algorithms,
}


def filled(text: str) -> str:
    """Return a document with the figures of the results in their places."""

    def fill(block: re.Match[str]) -> str:
        figure = FIGURES[block[2]]()
        return block[0] if figure is None else f"{block[1]}{figure}{block[4]}"

    return BLOCK.sub(fill, text)


def main() -> None:
    """Draw the chart, fill every document, and name those that changed."""
    if rows := sampled():
        plot(rows, ROOT / "docs" / CHART)
    for path in DOCUMENTS:
        text = path.read_text()
        if filled(text) != text:
            path.write_text(filled(text))
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
