"""Single pictures: for notebooks, and as PNG files, drawn by vl-convert without a browser and without a network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunedb.errors import SettingError
from tunedb.reporting.parts import Spec
from tunedb.reporting.race_pictures import race_spec
from tunedb.reporting.races import page_data

if TYPE_CHECKING:
    from tunedb.reporting.facts import Facts

WIDTH = 760  # pixels of a picture, before SCALE
SCALE = 2.0
MAX_ROWS = 40  # of a race
MIME = "application/vnd.vegalite.v5+json"  # the newest that JupyterLab draws; the specs need nothing newer
CONFIG = {
    "background": "white",
    "view": {"stroke": None},
    "legend": {"orient": "top"},
    "range": {"category": ["#3b82c4", "#d06f00", "#878c95", "#9b6fc4", "#d9483b", "#9c8500", "#23897d", "#c46a9b"]},
}


@dataclass(frozen=True)
class Picture:
    """A picture of a report: a notebook draws it, and `save` writes it as PNG."""

    title: str
    spec: Spec = field(repr=False)

    def vega_lite(self) -> dict[str, Any]:
        """Return the Vega-Lite specification, with its data."""
        width = {"width": WIDTH} if self.spec.get("width") == "container" else {}
        return {**self.spec, **width, "title": self.title, "config": CONFIG}

    def png(self) -> bytes:
        """Return the picture as PNG. Raises SettingError if vl-convert is not installed."""
        try:
            import vl_convert
        except ModuleNotFoundError:
            raise SettingError(
                "Pictures need vl-convert, which is not installed. Run: pip install 'tunedb[png]'"
            ) from None
        return bytes(vl_convert.vegalite_to_png(json.dumps(self.vega_lite()), scale=SCALE))

    def save(self, path: str | Path) -> Path:
        """Write the picture as PNG, and return the file. Raises SettingError if vl-convert is not installed."""
        file = Path(path)
        file.write_bytes(self.png())
        return file

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Return what a notebook draws: the specification, and the PNG if vl-convert is installed."""
        bundle: dict[str, Any] = {MIME: self.vega_lite(), "text/plain": repr(self)}
        try:
            return {"image/png": self.png(), **bundle}
        except SettingError:
            return bundle


def race_picture(facts: Facts, uid: str | None = None) -> Picture | None:
    """Return the race of a sweep, by the beginning of its uid, else of the one that tuning gained most in.

    None if nothing was timed.
    """
    races = page_data(facts)
    problems = races["problems"]
    chosen = problems[races["first"] :][:1] if uid is None else [one for one in problems if one["uid"] == uid[:12]]
    if not chosen:
        return None
    (problem,) = chosen
    rows: list[dict[str, Any]] = []
    for place, row in enumerate(problem["trials"]):
        trial = dict(zip(races["fields"], row, strict=True))
        knobs = races["configs"][trial["config"]]
        if trial["time"] is not None and len(rows) < MAX_ROWS:
            trial |= {"low": trial["low"] or trial["time"], "high": trial["high"] or trial["time"]}
            is_winner = place == 0 and problem["won"]
            role = "winner" if is_winner else "default" if place == problem["default_row"] else "other config"
            rows.append({**trial, "name": " · ".join(knobs.get(knob, "-") for knob in problem["knobs"]), "role": role})
    lines = [
        {"line": "default's time", "at": problem["default"]},
        {"line": "copy of the bytes", "at": problem["limit"]},
    ]
    datasets: dict[str, Any] = {"trials": rows, "lines": [line for line in lines if line["at"]]}
    title = f"{problem['kernel']} {problem['label']}"
    return Picture(title, {**race_spec(len(rows)), "datasets": datasets}) if rows else None
