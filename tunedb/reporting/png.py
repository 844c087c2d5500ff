"""The pictures of a report as PNG files, drawn by vl-convert: without a browser, and without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunedb.errors import SettingError
from tunedb.reporting.parts import Spec
from tunedb.reporting.race_pictures import race_spec

if TYPE_CHECKING:
    from tunedb.reporting.document import Report

WIDTH = 760  # pixels of a picture, before SCALE
SCALE = 2.0
MAX_ROWS = 40  # of a race
VEGA_LITE = "v6.4"  # the oldest of vl-convert's versions that draws the specs as the page does
CONFIG = {
    "background": "white",
    "view": {"stroke": None},
    "legend": {"orient": "top"},
    "range": {"category": ["#3b82c4", "#d06f00", "#878c95", "#9b6fc4", "#d9483b", "#9c8500", "#23897d", "#c46a9b"]},
}


def save_pictures(report: Report, folder: Path) -> list[Path]:
    """Write the pictures of a report into a folder, made if it is not there, and return the files.

    Raises SettingError if vl-convert is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise SettingError("Pictures need vl-convert, which is not installed. Run: pip install 'tunedb[png]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, title, spec in _pictures(report):
        drawn = {**_with_width(spec), "title": title, "config": CONFIG}
        file = folder / f"{name}.png"
        file.write_bytes(vl_convert.vegalite_to_png(json.dumps(drawn), scale=SCALE))
        files.append(file)
    return files


def _pictures(report: Report) -> Iterator[tuple[str, str, Spec]]:
    """Yield the pictures: of each view, and the race of the problem that tuning made faster by most."""
    for view in report.views():
        for figure in view.figures:
            yield figure.id, figure.title, figure.spec
        for name, figures in view.groups:
            for figure in figures:
                yield figure.id, f"{figure.title}: {name}", figure.spec
    race = _race(report)
    if race is not None:
        yield "race", *race


def _race(report: Report) -> tuple[str, Spec] | None:
    from tunedb.reporting.races import page_data

    races = page_data(report.facts)
    if not races["problems"]:
        return None
    problem = races["problems"][races["first"]]
    rows: list[dict[str, Any]] = []
    for place, row in enumerate(problem["trials"]):
        trial = dict(zip(races["fields"], row, strict=True))
        knobs = races["configs"][trial["config"]]
        if trial["time"] is not None and len(rows) < MAX_ROWS:
            trial |= {"low": trial["low"] or trial["time"], "high": trial["high"] or trial["time"]}
            role = "winner" if place == 0 and problem["won"] else "other config"
            rows.append({**trial, "name": " · ".join(knobs.get(knob, "-") for knob in problem["knobs"]), "role": role})
    if not rows:
        return None
    lines = [{"line": "default", "at": problem["default"]}, {"line": "copy of the bytes", "at": problem["limit"]}]
    datasets: dict[str, Any] = {"trials": rows, "lines": [line for line in lines if line["at"]]}
    return f"{problem['kernel']} {problem['label']}", {**race_spec(len(rows)), "datasets": datasets}


def _with_width(spec: Spec) -> dict[str, Any]:
    return {**spec, "width": WIDTH} if spec.get("width") == "container" else dict(spec)
