"""The view *Coverage*: which problems are tuned on which device, and which are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tunedb.reporting.facts import Facts
from tunedb.reporting.parts import Column, Figure, Kind, Spec, Table, View
from tunedb.store.answers import AnswerState


def coverage_view(facts: Facts) -> View:
    """Return the view."""
    devices, groups = facts.devices, facts.groups()
    states = list(AnswerState)
    counts = {group: Counter(one.state for one in answered) for group, answered in groups.items()}
    rows = [
        [kernel, devices[device], *(count[state] for state in states), count.total()]
        for (kernel, device), count in counts.items()
    ]
    columns = [Column("kernel"), Column("device"), *(Column(state, Kind.COUNT) for state in states)]
    table = Table("coverage", "Problems by kernel and device", [*columns, Column("all", Kind.COUNT)], rows)
    description = "A bar for each kernel on each device: its problems by state, with their counts."
    figure = Figure(
        "coverage", "Problems by state", description, _spec(rows, facts.kernel_labels, several=len(devices) > 1), table
    )
    return View(
        "coverage",
        "Coverage",
        "What is tuned where, and what is not?",
        _sentence(facts),
        [figure] if rows else [],
        [untuned_table(facts)],
    )


def _sentence(facts: Facts) -> str:
    everywhere: dict[tuple[str, str], set[str]] = {}
    for one in facts.answers:
        on = everywhere.setdefault(one.key[:2], set())
        if one.sweep is not None:
            on.add(one.device.digest)
    devices = len(facts.devices)
    if not everywhere:
        return "Nothing is stored."
    complete = sum(len(on) == devices for on in everywhere.values())
    where = {1: "on the device", 2: "on both devices"}.get(devices, f"on all {devices} devices")
    return f"{complete} of {len(everywhere)} problems have a tuned config {where}."


def untuned_table(facts: Facts) -> Table:
    """Return the problems that no sweep of the newest environment answers, those first that calls missed most."""
    labels, devices = facts.labels, facts.devices
    rows = [
        [one.problem.kernel, labels(one.problem), devices[one.device.digest], str(one.state), facts.misses.get(one.key)]
        for one in sorted(facts.answers, key=lambda one: (-facts.misses.get(one.key, 0), one.key))
        if one.state is not AnswerState.TUNED
    ]
    columns = [
        Column("kernel"),
        Column("problem"),
        Column("device"),
        Column("state"),
        Column("missed calls", Kind.COUNT),
    ]
    return Table("untuned", "Problems that are not tuned", columns, rows)


def _spec(rows: list[list[Any]], labels: Mapping[str, str], *, several: bool) -> Spec:
    states = list(map(str, AnswerState))
    values = []
    for kernel, device, *counts, _ in rows:
        name = f"{labels[kernel]}\n{device}" if several else labels[kernel]
        start = 0
        for order, (state, count) in enumerate(zip(states, counts, strict=True)):
            if count:
                values.append(
                    {
                        "group": name,
                        "device": device,
                        "state": state,
                        "count": count,
                        "order": order,
                        "start": start,
                        "end": start + count,
                        "middle": start + count / 2,
                    }
                )
            start += count
    spec: dict[str, Any] = {
        "data": {"values": values},
        "width": "container",
        "height": (46 if several else 30) * len({value["group"] for value in values}),
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.75}},
                "encoding": {
                    "x": {
                        "field": "start",
                        "type": "quantitative",
                        "title": "problems",
                        "axis": {"tickMinStep": 1, "format": "d"},
                    },
                    "x2": {"field": "end"},
                    "color": {
                        "field": "state",
                        "type": "nominal",
                        "title": None,
                        "scale": {"domain": states},
                        "legend": {"values": [state for state in states if any(v["state"] == state for v in values)]},
                    },
                    "tooltip": [
                        {"field": "group", "title": "kernel"},
                        {"field": "device"},
                        {"field": "state"},
                        {"field": "count", "title": "problems"},
                    ],
                },
            },
            {
                "mark": {
                    "type": "text",
                    "fontWeight": "bold",
                    "fill": "#ffffff",
                    "stroke": "#00000066",
                    "strokeWidth": 0.4,
                },
                "encoding": {
                    "x": {"field": "middle", "type": "quantitative"},
                    "text": {"field": "count", "type": "quantitative"},
                },
            },
        ],
        "encoding": {
            "y": {
                "field": "group",
                "type": "nominal",
                "title": None,
                "axis": {"labelExpr": "split(datum.label, '\\n')", "labelLimit": 300},  # kernel and device
            }
        },
    }
    return spec
