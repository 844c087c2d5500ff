"""The setting `TUNEDB_OVERRIDE`: knobs to force, by kernel, as JSON or as a mapping."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from tunedb.errors import SettingError


def parse_override(value: str | Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
    """Return the knobs to force, by kernel, from JSON or from a mapping. Raises SettingError."""
    try:
        kernels = json.loads(value) if isinstance(value, str) else value
        forced = {str(kernel): dict(knobs) for kernel, knobs in kernels.items()}
        for knobs in forced.values():
            for knob, setting in knobs.items():
                _check_knob(knob, setting)
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingError(f'Expected {{"kernel": {{"KNOB": value}}}}, got {value!r}: {error}') from None
    return forced


def _check_knob(knob: object, setting: object) -> None:
    is_number = type(setting) in (int, float) and math.isfinite(setting)  # type: ignore[arg-type]  # by the type
    is_plain = setting is None or type(setting) in (bool, str) or type(setting).__name__ == "dtype"
    if type(knob) is not str or not (is_number or is_plain):
        raise ValueError(f"{knob}: expected None, a bool, a finite number, a str or a dtype, got {setting!r}")
