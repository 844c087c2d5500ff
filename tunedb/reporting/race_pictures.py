"""The pictures of one sweep: its race, its registers, and its configs as parallel coordinates that can be brushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunedb.reporting.parts import Spec

STEP = 20  # pixels of a row; the page's script needs it too
AXIS = "k"  # the fields of a trial's knobs are k0, k1, ...: a knob may have any name

RACE_DESCRIPTION = (
    "A row for each config, the winner first. The dot is the median time, the line through it reaches from the 20th to "
    "the 80th percentile. Dashed lines are the default's time and, if it is known, the time of copying the same bytes."
)
REGISTERS_DESCRIPTION = "Each config is a dot. Across: registers per thread. Upwards: its median time."
PARALLEL_DESCRIPTION = (
    "Each config is a line through its values, one axis for each knob, to its time. The winner is drawn bold. Drag "
    "along an axis to keep the configs within that range; a double click takes the range away. The lists do the same."
)


def race_spec(rows: int = 1) -> Spec:
    """Return the picture of a race of so many configs.

    Its data are `trials` (name, time, low, high, role) and `lines` (line, at).
    """
    x = {
        "type": "quantitative",
        "title": "time (µs)",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"tickCount": 6, "format": ",~r", "labelOverlap": True},
    }
    y = {"field": "name", "type": "nominal", "sort": None, "axis": {"labelLimit": 260, "title": None}}
    tooltip = [
        {"field": "config"},
        {"field": "time", "title": "median (µs)", "format": ",.2f"},
        {"field": "low", "title": "p20 (µs)", "format": ",.2f"},
        {"field": "high", "title": "p80 (µs)", "format": ",.2f"},
        {"field": "samples"},
        {"field": "registers"},
        {"field": "spills"},
    ]
    role = {
        "field": "role",
        "type": "nominal",
        "title": None,
        "scale": {"domain": ["winner", "other config"]},
        "legend": {"symbolOpacity": 1, "symbolType": "circle", "symbolStrokeWidth": 0},
    }
    return {
        "description": RACE_DESCRIPTION,
        "width": "container",
        "height": STEP * rows,
        "layer": [
            {
                "data": {"name": "lines"},
                "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5},
                "encoding": {
                    "x": {**x, "field": "at"},
                    "strokeDash": {
                        "field": "line",
                        "type": "nominal",
                        "title": None,
                        "legend": {"orient": "top"},
                        "scale": {"range": [[5, 4], [1, 3]]},
                    },
                    "tooltip": [{"field": "line"}, {"field": "at", "title": "time (µs)", "format": ",.2f"}],
                },
            },
            {
                "data": {"name": "trials"},
                "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.35, "strokeCap": "round"},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "low"},
                    "x2": {"field": "high"},
                    "color": role,
                    "tooltip": tooltip,
                },
            },
            {
                "data": {"name": "trials"},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"y": y, "x": {**x, "field": "time"}, "color": role, "tooltip": tooltip},
            },
        ],
    }


def registers_spec() -> Spec:
    """Return the picture of registers and spills, for data `trials`."""
    return {
        "description": REGISTERS_DESCRIPTION,
        "width": "container",
        "height": 240,
        "data": {"name": "trials"},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.85},
        "encoding": {
            "x": {
                "field": "registers",
                "type": "quantitative",
                "title": "registers per thread",
                "scale": {"zero": False, "padding": 12},
            },
            "y": {
                "field": "time",
                "type": "quantitative",
                "title": "time (µs)",
                "scale": {"type": "log", "nice": False, "padding": 12},
                "axis": {"format": ",~r", "tickCount": 5},
            },
            "color": {
                "field": "spilling",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["no spills", "spills"]},
            },
            "shape": {
                "field": "spilling",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["no spills", "spills"], "range": ["circle", "cross"]},
            },
            "tooltip": [
                {"field": "config"},
                {"field": "time", "title": "median (µs)", "format": ",.2f"},
                {"field": "registers"},
                {"field": "spills"},
                {"field": "shared", "title": "shared memory (bytes)"},
            ],
        },
    }


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
                "title": {"signal": repr_js(names[axis])},
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


def repr_js(text: str) -> str:
    """Return a text as an expression of Vega: a name of a knob is not one."""
    import json

    return json.dumps(text)
