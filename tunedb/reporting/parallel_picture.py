"""The picture of one sweep's configs as parallel coordinates that can be brushed, in Vega: Vega-Lite has none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunedb.reporting.parts import Spec

AXIS = "k"  # the fields of a trial's knobs are k0, k1, ...: a knob may have any name

PARALLEL_DESCRIPTION = (
    "Each config is a line through its values, one axis for each knob, to its time. The winner is drawn bold. Drag "
    "along an axis to keep the configs within that range; a double click takes the range away. The lists do the same."
)


def parallel_spec(knobs: Mapping[str, Sequence[str]]) -> Spec:
    """Return the picture of parallel coordinates in Vega, for data `trials`; `knobs` are the values of each, in order;
    the page's script fills in those of one sweep.

    A row of `trials` has k0, k1, ... as texts, time, and place (0 for the winner). A signal `brush_N` is the range on
    axis N, in pixels, and null without one; `only_N` is the one value that is kept, and empty without one.
    """
    axes = [f"{AXIS}{number}" for number in range(len(knobs))]
    places = [*axes, "time"]
    scales: list[dict[str, Any]] = [
        {"name": "across", "type": "point", "range": "width", "domain": places, "padding": 0.4},
        {
            "name": "time",
            "type": "log",
            "range": "height",
            "nice": False,
            "domain": {"data": "trials", "field": "time"},
            "zero": False,
        },
        {
            "name": "colour",
            "type": "log",
            "domain": {"data": "trials", "field": "time"},
            "range": [{"signal": "fast"}, {"signal": "slow"}],
            "interpolate": "rgb",
        },
    ]
    scales += [
        {"name": axis, "type": "point", "range": [{"signal": "height"}, 0], "domain": list(values), "padding": 0.3}
        for axis, values in zip(axes, knobs.values(), strict=True)
    ]
    names = dict(zip(places, [*knobs, "time (µs)"], strict=True))
    return {
        "$schema": "https://vega.github.io/schema/vega/v6.json",
        "description": PARALLEL_DESCRIPTION,
        "padding": 8,
        "height": 300,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "signals": [
            {
                "name": "width",
                "init": "containerSize()[0]",
                "on": [{"events": "window:resize", "update": "containerSize()[0]"}],
            },
            {"name": "fast", "value": "#1f5fbf"},
            {"name": "slow", "value": "#c9c9c9"},
            *(signal for number in range(len(places)) for signal in _signals(number, places[number])),
        ],
        "data": [
            {"name": "trials", "values": []},
            # Data of its own: the scales depend on the trials, and what is kept depends on the scales.
            {
                "name": "judged",
                "source": "trials",
                "transform": [{"type": "formula", "as": "kept", "expr": _kept(places)}],
            },
            {
                "name": "points",
                "source": "judged",
                "transform": [{"type": "fold", "fields": places, "as": ["axis", "value"]}],
            },
        ],
        "scales": scales,
        "axes": [
            {
                "orient": "left",
                "scale": axis,
                "offset": {"scale": "across", "value": axis, "mult": -1},
                "zindex": 1,
                "title": {"signal": json.dumps(names[axis])},
                "titleAnchor": "start",
                "titleAngle": 0,
                "titleAlign": "center",
                "titleX": 0,
                "titleY": -14,
                "titleLimit": 130,
                "labelLimit": 90,
                "labelPadding": 6,
                **({"tickCount": 5, "format": ",~r"} if axis == "time" else {}),
            }
            for axis in places
        ],
        "marks": [_lines(), *(_axis_area(number, axis) for number, axis in enumerate(places))],
    }


def _signals(number: int, axis: str) -> list[dict[str, Any]]:
    events = [
        {"events": f"@area_{number}:pointerdown", "update": "[clamp(y(), 0, height), clamp(y(), 0, height)]"},
        {
            "events": f"[@area_{number}:pointerdown, window:pointerup] > window:pointermove!",
            "update": f"[brush_{number} ? brush_{number}[0] : 0, clamp(y(), 0, height)]",
        },
        {"events": f"@area_{number}:dblclick", "update": "null"},
    ]
    only = [] if axis == "time" else [{"name": f"only_{number}", "value": ""}]
    return [{"name": f"brush_{number}", "value": None, "on": events}, *only]


def _kept(places: Sequence[str]) -> str:
    """Return the expression that says whether a trial is within all brushes and lists."""
    terms = []
    for number, axis in enumerate(places):
        brush, at = f"brush_{number}", f"scale('{axis}', datum.{axis})"
        terms.append(f"(!{brush} || abs(span({brush})) < 4 || inrange({at}, {brush}))")
        if axis != "time":
            terms.append(f"(only_{number} === '' || datum.{axis} === only_{number})")
    return " && ".join(terms)


def _lines() -> dict[str, Any]:
    width = [{"test": "datum.place === 0", "value": 4}, {"value": 1.5}]
    opacity = [{"test": "!datum.kept", "value": 0.06}, {"test": "datum.place === 0", "value": 1}, {"value": 0.75}]
    line = {
        "type": "line",
        "from": {"data": "line"},
        "interactive": False,
        "encode": {
            "enter": {
                "x": {"scale": "across", "field": "axis"},
                "y": {"scale": {"datum": "axis"}, "field": "value"},
                "stroke": {"scale": "colour", "field": "time"},
                "strokeWidth": width,
            },
            "update": {
                "x": {"scale": "across", "field": "axis"},
                "y": {"scale": {"datum": "axis"}, "field": "value"},
                "stroke": {"scale": "colour", "field": "time"},
                "strokeOpacity": opacity,
            },
        },
    }
    return {
        "type": "group",
        "from": {"facet": {"name": "line", "data": "points", "groupby": ["place"]}},
        "sort": {"field": "datum.place", "order": "descending"},
        "marks": [line],
    }


def _axis_area(number: int, axis: str) -> dict[str, Any]:
    """Return the place on which an axis is brushed, with what is brushed."""
    middle = {"scale": "across", "value": axis}
    brush = f"brush_{number}"
    return {
        "type": "group",
        "marks": [
            {
                "type": "rect",
                "interactive": False,
                "encode": {
                    "update": {
                        "x": {**middle, "offset": -9},
                        "width": {"value": 18},
                        "fill": {"signal": "fast"},
                        "fillOpacity": {"value": 0.25},
                        "y": {"signal": f"{brush} ? {brush}[0] : 0"},
                        "y2": {"signal": f"{brush} ? {brush}[1] : 0"},
                    }
                },
            },
            {
                "type": "rect",
                "name": f"area_{number}",
                "encode": {
                    "update": {
                        "x": {**middle, "offset": -16},
                        "width": {"value": 32},
                        "y": {"value": 0},
                        "height": {"signal": "height"},
                        "fill": {"value": "transparent"},
                        "cursor": {"value": "ns-resize"},
                    }
                },
            },
        ],
    }
