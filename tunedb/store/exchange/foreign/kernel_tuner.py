"""Kernel Tuner's cache files: every config of a problem with its time in milliseconds, or the word for its failure.

`tunedb export --format kernel-tuner-cache` writes them too. While Kernel Tuner is running, and after it was
interrupted, the two closing brackets are missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunedb.core.canonical import parse_json
from tunedb.store.exchange.foreign.entry import Entry, Found, Rejection, check_knobs, read_text

TOOL = "kernel-tuner"
SIZE = "problem_size"
PROBLEM = "tunedb_problem"  # the problem's facts, in files that tunedb wrote
FAILED_TIME = 1e20  # what older versions have in the place of a failed config's time


def read(path: Path) -> Found:
    """Yield the entry of such a file: its fastest config, with the time of each config that has one."""
    try:
        content = _load(path)
        names, entries = content.get("tune_params_keys"), content.get("cache")
        if not isinstance(names, list) or not isinstance(entries, dict):
            raise ValueError("expected the list `tune_params_keys` and the object `cache`")
        timed = [timing for entry in entries.values() if (timing := _timing(entry, names)) is not None]
        if not timed:
            raise ValueError("no config of the file has a time")
        size = content.get(SIZE)
        if not isinstance(size, bool | int | float | str):
            size = json.dumps(size)
    except ValueError as error:
        yield Rejection(str(path), str(error))
        return
    knobs, time = min(timed, key=lambda timing: timing[1])
    fields = content[PROBLEM] if isinstance(content.get(PROBLEM), dict) else {SIZE: size}
    evidence = {"times_ms": [time], "timings": [[config, [ms]] for config, ms in timed]}
    device, function = content.get("device_name"), content.get("kernel_name")
    yield Entry(
        TOOL, fields, knobs, f"{path}: {size}", device if isinstance(device, str) else None,
        function if isinstance(function, str) else None, evidence,
    )  # fmt: skip


def _load(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError:
        content = parse_json(text.rstrip().rstrip(",") + "}}")
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got a {type(content).__name__}")
    return content


def _timing(entry: object, names: list[Any]) -> tuple[dict[str, Any], float] | None:
    """Return a config and its time; None if it failed, which a text or 1e20 in the place of the time says."""
    time = entry.get("time") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or isinstance(time, bool) or not isinstance(time, int | float):
        return None
    if not 0 <= time < FAILED_TIME:
        return None
    return check_knobs({name: entry.get(name) for name in names}), float(time)
