"""Figures of the rows: medians, ratios with their intervals, and the tables for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.timing import interval

Row = dict[str, Any]
PARTS = ("adopt_s", "package_s", "calls_s")  # of a process whose torch and Triton are imported


def seconds_of(process: Row) -> float:
    """Return a process's seconds to the last result."""
    return float(sum(process[part] for part in PARTS))


def compared(ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Return the medians of pairs, their ratio and their difference in ms, each with its 95 % interval."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    differences = [(mine - other) * 1e3 for mine, other in zip(ours, theirs, strict=True)]
    return {
        "ours_s": round(median(ours), 3), "theirs_s": round(median(theirs), 3), "pairs": len(ratios),
        "ratio": round(median(ratios), 3), "ratio_95": [round(end, 3) for end in interval(ratios)],
        "more_ms": round(median(differences), 1), "more_ms_95": [round(end, 1) for end in interval(differences)],
    }  # fmt: skip


def second_process(rows: Iterable[Row]) -> Row:
    """Return the figures of second processes, by package and number of kernels."""
    figures: Row = {}
    for (package, _), group in grouped(rows, "second", "package", "kernels").items():
        pairs = [row["sides"] for row in group]
        ours, theirs = ([seconds_of(pair[side]) for pair in pairs] for side in ("tunedb", "triton_cached"))
        key = f"{package}, {group[0]['called']} kernels"
        figures[key] = compared(ours, theirs) | {"results_differ_by": difference(pairs)}
        for part in PARTS:
            figures[key][part] = {
                side: round(median(pair[side][part] for pair in pairs), 3) for side in ("triton_cached", "tunedb")
            }
        uncached = [seconds_of(pair["triton"]) for pair in pairs if "triton" in pair]
        if uncached:
            figures[key]["uncached_s"] = round(median(uncached), 3)
    return figures


def cold(rows: Iterable[Row]) -> Row:
    """Return the median seconds of a first tuning by package, operation and side."""
    figures: Row = {}
    for (package, operation), group in grouped(rows, "cold", "package", "operation").items():
        sides = {side for row in group for side in row["sides"]}
        seconds = {
            side: round(median(seconds_of(row["sides"][side]) for row in group if side in row["sides"]), 2)
            for side in sorted(sides)
        }
        ratio = {"ratio": round(seconds["tunedb"] / seconds["triton"], 3)} if {"tunedb", "triton"} <= sides else {}
        figures[f"{package} {operation}"] = seconds | ratio
    return figures


def steady(rows: Iterable[Row]) -> Row:
    """Return the median host time of a repeated call by package and operation, and the ratio with its interval."""
    figures: Row = {}
    for (package,), group in grouped(rows, "steady", "package").items():
        for operation in group[0]["sides"]["tunedb"]["host_us"]:
            ours, theirs = (
                [row["sides"][side]["host_us"][operation] for row in group] for side in ("tunedb", "triton_cached")
            )
            ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
            figures[f"{package} {operation}"] = {
                "triton_us": round(median(theirs), 1), "tunedb_us": round(median(ours), 1),
                "ratio": round(median(ratios), 3), "ratio_95": [round(end, 3) for end in interval(ratios)],
            }  # fmt: skip
    return figures


def difference(pairs: Iterable[Row]) -> float:
    """Return by how much results of the sides differ at most: digests are between -1 and 1."""
    differences = [0.0]
    for pair in pairs:
        digests = [process["digests"] for process in pair.values()]
        differences += [max(d[name] for d in digests) - min(d[name] for d in digests) for name in digests[0]]
    return round(max(differences), 5)


def grouped(rows: Iterable[Row], step: str, *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows of a step by the values of the keys, in the rows' order."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["step"] == step:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def table(rows: Sequence[Row]) -> str:
    """Return the figures as Markdown tables."""
    lines = ["| first tuning | Triton | with `cache_results` | tunedb |", "|---|---|---|---|"]
    for name, figures in cold(rows).items():
        cells = [f"{figures[side]:.2f} s" if side in figures else "" for side in ("triton", "triton_cached", "tunedb")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| second process | Triton | with `cache_results` | tunedb | ratio | difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in second_process(rows).items():
        uncached = f"{figures['uncached_s']:.2f} s" if "uncached_s" in figures else ""
        lines.append(
            f"| {name} | {uncached} | {figures['theirs_s']:.3f} s | {figures['ours_s']:.3f} s "
            f"| {figures['ratio']:.3f} {_range(figures['ratio_95'])} "
            f"| {figures['more_ms']:+.1f} ms {_range(figures['more_ms_95'])} |"
        )
    lines += ["", "| host time of a repeated call | Triton | tunedb | ratio |", "|---|---|---|---|"]
    for name, figures in steady(rows).items():
        us = f"{figures['triton_us']:.1f} µs | {figures['tunedb_us']:.1f} µs"
        lines.append(f"| {name} | {us} | {figures['ratio']:.2f} {_range(figures['ratio_95'])} |")
    return "\n".join(lines)


def _range(ends: Sequence[float]) -> str:
    return f"({ends[0]} to {ends[1]})"
