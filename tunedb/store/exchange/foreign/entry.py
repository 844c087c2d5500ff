"""An entry of another tool's file as it stands there: its fields, its config, and where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunedb.core.canonical import parse_json
from tunedb.errors import IdentityError

MAX_FILE = 64 * 2**20  # bytes; the largest file met has less than one MiB
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A config of another tool, for the fields of its file's name and its key. A field that is absent is not there."""

    tool: str
    fields: Mapping[str, Any]
    knobs: Mapping[str, Any]
    place: str  # the file and the key in it
    device: str | None = None  # the label; None if the file has none
    function: str | None = None  # the name of the kernel's function, if the file has it
    evidence: Mapping[str, Any] = field(default_factory=dict)  # versions and times, as far as they are there


@dataclass(frozen=True, slots=True)
class Rejection:
    """A file, or a key in it, that was not read, and why."""

    place: str
    reason: str


Found = Iterator[Entry | Rejection]
Reader = Callable[[Path], Found]


def read_text(path: Path) -> str:
    """Return a file's text. Raises ValueError, which says what is wrong, if it is too large or not UTF-8."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError(f"longer than {MAX_FILE} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start + 1}") from None
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None


def load_json(path: Path, *, infinite: bool = False) -> Any:
    """Return the content of a JSON file; `infinite` allows Python's Infinity and NaN, which strict JSON lacks.

    Raises ValueError, which says what is wrong, for a file that is too large, not UTF-8 or not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise ValueError("the file is empty")
    if not infinite:
        return parse_json(text)  # raises IdentityError, a ValueError
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise IdentityError(f"Expected JSON: {error}.") from None


def check_knobs(value: object) -> dict[str, Any]:
    """Return a config's knobs. Raises ValueError unless it is an object of numbers, texts, switches and nulls."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected an object with a config's knobs, got {value!r:.60}")
    for name, knob in value.items():
        if not (knob is None or isinstance(knob, bool | int | float | str)):
            raise ValueError(f"{name:.60}: expected a number, a text, a switch or null, got {knob!r:.60}")
    return value


def split_config(value: object) -> dict[str, Any]:
    """Return the knobs of a config that keeps its constexpr arguments in `kwargs`, as Triton's files do.

    Raises ValueError for any other value.
    """
    if not isinstance(value, dict) or not isinstance(value.get("kwargs"), dict):
        raise ValueError(f"expected a config with kwargs, got {value!r:.60}")
    options = {name: option for name, option in value.items() if name != "kwargs"}
    return check_knobs({**options, **value["kwargs"]})
