"""The pictures of one sweep: its race, and its registers."""

from __future__ import annotations

from tunedb.reporting.parts import Spec

ROLE_COLOURS = ["#3b82c4", "#d06f00", "#878c95"]  # of the winner, of the default, of the others
STEP = 20  # pixels of a row; the page's script needs it too

RACE_DESCRIPTION = (
    "A row for each config, the winner first. The dot is the median time, the line through it reaches from the 20th to "
    "the 80th percentile. The dashed line is the default's time, a dotted one, if it is near, the time of copying the "
    "same bytes."
)
REGISTERS_DESCRIPTION = "Each config is a dot. Across: registers per thread. Upwards: its median time."


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
        "scale": {"domain": ["winner", "default", "other config"], "range": ROLE_COLOURS},
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
                        "sort": None,
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
                "axis": {"tickCount": 8, "labelOverlap": True},
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
