"""The view *Compare*: what the other device, environment or store would choose, and what a wrong choice costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tunedb._internal.counted import counted
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep
from tunedb.reporting.facts import Comparison, geometric_mean
from tunedb.reporting.labels import ProblemLabels, config_text, knobs_of, knobs_text
from tunedb.reporting.parts import Column, Figure, Kind, Spec, Table, View
from tunedb.store.difference import Pair, Verdict

NOTHING = (
    "Fewer than two devices are stored. To compare others: tunedb report --compare A B, with two stores, devices or "
    "environments."
)


MAX_DECADES = 5  # of an axis that has three ticks in each
_ONLY = {Verdict.ONLY_A: "A", Verdict.ONLY_B: "B"}
_DOTS = {Verdict.SAME: "same config", Verdict.FLIP: "different configs"}


def compare_view(comparison: Comparison | None) -> View:
    """Return the view."""
    question = "What would the other one choose?"
    if comparison is None:
        return View("compare", "Compare", question, NOTHING)
    a, b, pairs = comparison.a, comparison.b, comparison.pairs
    labels = ProblemLabels(pair.problem for pair in pairs)
    table = flips_table(comparison, labels)
    description = (
        f"Each problem is a dot. Across: its time on {a}. Upwards: on {b}. On the line both take the same time; "
        f"below it, {b} is faster."
    )
    figure = Figure("scatter", f"{a} and {b}", description, _spec(comparison, labels), _pairs_table(comparison, labels))
    return View("compare", "Compare", question, _sentence(a, b, pairs), [figure], [table])


def _sentence(a: str, b: str, pairs: Sequence[Pair]) -> str:
    counts = Counter(pair.verdict for pair in pairs)
    flips = [pair for pair in pairs if pair.verdict is Verdict.FLIP]
    both = counts[Verdict.SAME] + len(flips)
    text = f"A is {a}, B is {b}. They choose different configs for {len(flips)} of {counted(both, 'problem')}."
    for name, other, costs in (
        ("A", "B", [pair.cost_on_b for pair in flips if pair.cost_on_b]),
        ("B", "A", [pair.cost_on_a for pair in flips if pair.cost_on_a]),
    ):
        if costs:
            text += (
                f" With {name}'s config, {other} takes {geometric_mean(costs):.2f} times as long as with its own "
                f"(geometric mean of {len(costs)} measured there; at worst {max(costs):.2f} times)."
            )
    ratios = [pair.ratio for pair in pairs if pair.ratio]
    if ratios:
        many = counted(len(ratios), "problem")
        text += f" Each with its own, B takes {geometric_mean(ratios):.2f} times as long as A ({many})."
    only = [f"{counts[verdict]} on {side} only" for verdict, side in _ONLY.items() if counts[verdict]]
    return f"{text} Tuned {' and '.join(only)}." if only else text


def flips_table(comparison: Comparison, labels: ProblemLabels) -> Table:
    """Return the problems that the sides choose different configs for, the most expensive first."""
    flips = [pair for pair in comparison.pairs if pair.verdict is Verdict.FLIP]
    flips.sort(key=lambda pair: -max(pair.cost_on_a or 0.0, pair.cost_on_b or 0.0))
    a, b = comparison.a, comparison.b
    columns = [
        Column("kernel"),
        Column("problem"),
        Column("device"),
        Column(f"A's config: {a}"),
        Column(f"B's config: {b}"),
        Column("A's config on B: times as long as B's", Kind.RATIO),
        Column("B's config on A: times as long as A's", Kind.RATIO),
    ]
    knobs = _knobs(comparison.pairs)
    rows = [
        [
            pair.problem.kernel,
            labels(pair.problem),
            _device(pair),
            *(_config(sweep, knobs[pair.problem.kernel]) for sweep in (pair.a, pair.b)),
            pair.cost_on_b,
            pair.cost_on_a,
        ]
        for pair in flips
    ]
    return Table("flips", "Problems with another winner, the most expensive first", columns, rows)


def _knobs(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Return the knobs that differ between the winners of each kernel."""
    configs: dict[str, list[Config]] = {}
    for pair in pairs:
        won = [sweep.config for sweep in (pair.a, pair.b) if sweep is not None and sweep.config is not None]
        configs.setdefault(pair.problem.kernel, []).extend(won)
    return {kernel: knobs_of(of_kernel) for kernel, of_kernel in configs.items()}


def _config(sweep: Sweep | None, knobs: Sequence[str]) -> str | None:
    return None if sweep is None or sweep.config is None else knobs_text(sweep.config, knobs)


def _device(pair: Pair) -> str | None:
    """Return the device that both sides are of; None if each has its own, which the columns of the sides name."""
    devices = {sweep.device.name for sweep in (pair.a, pair.b) if sweep is not None}
    return devices.pop() if len(devices) == 1 else None


def _pairs_table(comparison: Comparison, labels: ProblemLabels) -> Table:
    columns = [
        Column("kernel"),
        Column("problem"),
        Column("device"),
        Column("verdict"),
        Column(f"A: {comparison.a} (µs)", Kind.TIME),
        Column(f"B: {comparison.b} (µs)", Kind.TIME),
        Column("B's time over A's", Kind.RATIO),
    ]
    rows = [
        [
            pair.problem.kernel,
            labels(pair.problem),
            _device(pair),
            str(pair.verdict),
            pair.a and pair.a.time_us,
            pair.b and pair.b.time_us,
            pair.ratio,
        ]
        for pair in comparison.pairs
    ]
    return Table("pairs", "Every problem", columns, rows)


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return 1, 2, 5, 10, 20, ... between the least and the greatest value; powers of ten if these are many."""
    low, high = min(values), max(values)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(exponents) <= MAX_DECADES else (1,)
    return [tick for power in exponents for step in steps if low <= (tick := step * 10.0**power) <= high]


def _spec(comparison: Comparison, labels: ProblemLabels) -> Spec:
    values: list[dict[str, Any]] = [
        {
            "a": round(pair.a.time_us or 0.0, 3),
            "b": round(pair.b.time_us or 0.0, 3),
            "verdict": _DOTS[pair.verdict],
            "kernel": pair.problem.kernel,
            "problem": labels(pair.problem),
            "config_a": config_text(pair.a.config),
            "config_b": config_text(pair.b.config),
            "ratio": round(pair.ratio, 4),
        }
        for pair in comparison.pairs
        if pair.ratio and pair.a is not None and pair.b is not None
    ]
    times = [value[side] for value in values for side in ("a", "b")] or [1.0, 10.0]
    ends = [{"at": min(times)}, {"at": max(times)}]
    log = {"type": "log", "nice": False, "padding": 10}
    return {
        "width": "container",
        "height": 380,
        "layer": [
            {
                "data": {"values": ends},
                "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1, "color": "#878c95"},
                "encoding": {
                    "x": {"field": "at", "type": "quantitative", "scale": log},
                    "y": {"field": "at", "type": "quantitative", "scale": log},
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.85},
                "encoding": {
                    "x": {
                        "field": "a",
                        "type": "quantitative",
                        "title": f"A: {comparison.a} (µs)",
                        "scale": log,
                        "axis": {"values": log_ticks(times), "format": ",~r", "labelOverlap": True},
                    },
                    "y": {
                        "field": "b",
                        "type": "quantitative",
                        "title": f"B: {comparison.b} (µs)",
                        "scale": log,
                        "axis": {"values": log_ticks(times), "format": ",~r", "labelOverlap": True},
                    },
                    "color": {
                        "field": "verdict",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": [*_DOTS.values()]},
                    },
                    "shape": {
                        "field": "verdict",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": [*_DOTS.values()], "range": ["circle", "diamond"]},
                    },
                    "tooltip": [
                        {"field": "kernel"},
                        {"field": "problem"},
                        {"field": "a", "title": "A (µs)", "format": ",.2f"},
                        {"field": "b", "title": "B (µs)", "format": ",.2f"},
                        {"field": "ratio", "title": "B's time over A's", "format": ".2f"},
                        {"field": "config_a", "title": "A's config"},
                        {"field": "config_b", "title": "B's config"},
                    ],
                },
            },
        ],
    }
