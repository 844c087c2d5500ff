"""Values as people read them: in tables, records and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunedb._internal.printable import printable

SHORT_UID = 12  # digits of a uid in a table; `tunedb show` takes the beginning of a uid
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def cell(column: str, value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if column == "uid":
        return str(value)[:SHORT_UID]
    if isinstance(value, str):  # as most are
        return one_line(value)
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, Mapping):
        return one_line(" ".join(f"{name}={part}" for name, part in value.items()))
    if isinstance(value, Sequence):
        return one_line(", ".join(map(str, value))) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return one_line(str(value))


def one_line(text: str) -> str:
    """Return the text on one line, with its control characters escaped: it may come from someone else's store."""
    return printable(" ".join(text.split()))


def duration(seconds: float) -> str:
    """Return a time in its largest unit: `3d`, `5h`, `12m` or `40s`; a time ahead as `0s`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
