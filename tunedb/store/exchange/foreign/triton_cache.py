"""Triton's `<function>.autotune.json`, which `cache_results=True` writes: the times of all configs of one key.

The key is the values of `key=`, then the dtypes of the arguments, in the order of the call, without names. Times are
milliseconds: median, 20th and 80th percentile; a config that failed has Infinity. The file names no device.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from tunedb.core.hint import DTYPES
from tunedb.store.exchange.foreign.entry import Entry, Found, Rejection, load_json, split_config

SUFFIX = ".autotune.json"
_DTYPE = re.compile(r"(torch\.[a-z][a-z0-9_]*|[a-z]{1,5}\d+[a-z0-9]*)")


def read(path: Path, names: tuple[str, ...]) -> Found:
    """Yield the entry of such a file: the fastest config, with the times of all. `names` are those of the key's values.

    Values beyond these names have to be dtypes, which are the fact `dtypes`.
    """
    try:
        content = load_json(path, infinite=True)
        yield read_content(content, names, str(path), path.name.removesuffix(SUFFIX), None)
    except ValueError as error:
        yield Rejection(str(path), str(error))


def read_content(content: object, names: tuple[str, ...], path: str, function: str, device: str | None) -> Entry:
    """Return the entry of such a file's content. Raises ValueError if it is of another form."""
    if not isinstance(content, dict) or not isinstance(content.get("key"), list):
        raise ValueError("expected an object with the list `key`")
    fields = key_fields(content["key"], names)
    timings = [_timing(pair) for pair in _list(content.get("configs_timings"))]
    timed = [(knobs, times) for knobs, times in timings if times is not None]
    if not timed:
        raise ValueError("no config of the file has a time")
    knobs, times = min(timed, key=lambda timing: timing[1][0])
    evidence = {"times_ms": times, "timings": [list(timing) for timing in timings]}
    return Entry(
        "triton", fields, knobs, f"{path}: {', '.join(map(str, content['key']))}", device, function, evidence
    )  # fmt: skip


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected the list `configs_timings`")
    return value


def _timing(pair: object) -> tuple[dict[str, Any], list[float] | None]:
    """Return a config's knobs, and its times; None if it failed."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise ValueError(f"expected pairs of a config and its times, got {pair!r:.60}")
    times = pair[1] if isinstance(pair[1], list) else [pair[1]]
    if not times or not all(type(time) in (int, float) for time in times):
        raise ValueError(f"expected times in milliseconds, got {pair[1]!r:.60}")
    good = all(math.isfinite(time) and time >= 0 for time in times)
    return split_config(pair[0]), [float(time) for time in times] if good else None


def key_fields(values: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a key by name, and the dtypes after them. Raises ValueError for a value without a name."""
    if len(values) < len(names):
        raise ValueError(f"expected {len(names)} values in the key ({', '.join(names)}), got {len(values)}")
    rest = values[len(names) :]
    unnamed = [value for value in rest if not (isinstance(value, str) and _DTYPE.fullmatch(value))]
    if unnamed:
        raise ValueError(f"no name for {unnamed[0]!r:.40} in the key: name the key's arguments with --keys")
    fields = dict(zip(names, values, strict=False))
    for name, value in fields.items():
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise ValueError(f"{name}: expected a number, a text, a switch or null, got {value!r:.60}")
    return {**fields, DTYPES: ",".join(value.removeprefix("torch.") for value in rest)} if rest else fields
