"""The view *Compare*: what the other device, environment or store would choose, and what a wrong choice costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tunedb.reporting.facts import Comparison, geometric_mean
from tunedb.reporting.labels import ProblemLabels, config_text
from tunedb.reporting.parts import Column, Figure, Kind, Spec, Table, View
from tunedb.store.difference import Pair, Verdict

NOTHING = (
    "Only one device is stored. Compare others: tunedb report --compare A B, with two stores, devices or versions."
)


def compare_view(comparison: Comparison | None) -> View:
    """Return the view."""
    question = "What would the other one choose?"
    if comparison is None:
        return View("compare", "Compare", question, NOTHING)
    a, b, pairs = comparison.a, comparison.b, comparison.pairs
    labels = ProblemLabels(pair.problem for pair in pairs)
    table = flips_table(comparison, labels)
    description = f"Each problem is a dot. Across: its time on {a}. Upwards: on {b}. On the line both take as long."
    figure = Figure("scatter", f"{a} and {b}", description, _spec(comparison, labels), _pairs_table(comparison, labels))
    return View("compare", "Compare", question, _sentence(a, b, pairs), [figure], [table])


def _sentence(a: str, b: str, pairs: Sequence[Pair]) -> str:
    counts = Counter(pair.verdict for pair in pairs)
    both = counts[Verdict.SAME] + counts[Verdict.FLIP]
    text = f"A is {a}, B is {b}. They choose different configs for {counts[Verdict.FLIP]} of {both} problems"
    text += f"; {counts[Verdict.ONLY_A]} are on A only, {counts[Verdict.ONLY_B]} on B only."
    ratios = [pair.ratio for pair in pairs if pair.ratio]
    if ratios:
        text += f" B takes {geometric_mean(ratios):.3f} times as long as A (geometric mean of {len(ratios)} problems)."
    for name, other, costs in (
        ("A", "B", [pair.cost_on_b for pair in pairs if pair.verdict is Verdict.FLIP and pair.cost_on_b]),
        ("B", "A", [pair.cost_on_a for pair in pairs if pair.verdict is Verdict.FLIP and pair.cost_on_a]),
    ):
        if costs:
            text += (
                f" {name}'s config takes {geometric_mean(costs):.3f} times as long on {other} as {other}'s own"
                f" (most {max(costs):.2f}, {len(costs)} measured)."
            )
    return text


def flips_table(comparison: Comparison, labels: ProblemLabels) -> Table:
    """Return the problems that the sides choose different configs for, the most expensive first."""
    flips = [pair for pair in comparison.pairs if pair.verdict is Verdict.FLIP]
    flips.sort(key=lambda pair: -max(pair.cost_on_a or 0.0, pair.cost_on_b or 0.0))
    columns = [
        Column("kernel"),
        Column("problem"),
        Column("device"),
        Column("A's config"),
        Column("B's config"),
        Column("A's config on B, times B's own", Kind.RATIO),
        Column("B's config on A, times A's own", Kind.RATIO),
    ]
    rows = [
        [
            pair.problem.kernel,
            labels(pair.problem),
            _device(pair),
            config_text(None if pair.a is None else pair.a.config),
            config_text(None if pair.b is None else pair.b.config),
            pair.cost_on_b,
            pair.cost_on_a,
        ]
        for pair in flips
    ]
    return Table("flips", "Problems with another winner", columns, rows)


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
        Column("B over A", Kind.RATIO),
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


def _spec(comparison: Comparison, labels: ProblemLabels) -> Spec:
    values: list[dict[str, Any]] = [
        {
            "a": round(pair.a.time_us or 0.0, 3),
            "b": round(pair.b.time_us or 0.0, 3),
            "verdict": str(pair.verdict),
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
                "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1},
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
                        "axis": {"tickCount": 6, "format": "~s", "labelOverlap": True},
                    },
                    "y": {
                        "field": "b",
                        "type": "quantitative",
                        "title": f"B: {comparison.b} (µs)",
                        "scale": log,
                        "axis": {"tickCount": 6, "format": "~s", "labelOverlap": True},
                    },
                    "color": {
                        "field": "verdict",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": ["same", "flip"]},
                    },
                    "shape": {
                        "field": "verdict",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": ["same", "flip"], "range": ["circle", "diamond"]},
                    },
                    "tooltip": [
                        {"field": "kernel"},
                        {"field": "problem"},
                        {"field": "a", "title": "A (µs)", "format": ",.2f"},
                        {"field": "b", "title": "B (µs)", "format": ",.2f"},
                        {"field": "ratio", "title": "B over A", "format": ".3f"},
                        {"field": "config_a", "title": "A's config"},
                        {"field": "config_b", "title": "B's config"},
                    ],
                },
            },
        ],
    }
