"""triton-dejavu's `cache.json`: the winner of each key as text, with the device and the versions in the path."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from tunedb.core.hint import DTYPES
from tunedb.store.exchange.foreign.entry import Entry, Found, Rejection, check_knobs, load_json

NAME = "cache.json"
_FOLDER = re.compile(r"(dejavu|triton|cuda|rocm|gpu)_(.+)")
_SIGNATURE = re.compile(r"JITFunction\((?:.*[:.])?(\w+)\)")
_INT = re.compile(r"-?\d{1,18}")


def read(path: Path) -> Found:
    """Yield the entries of such a file."""
    try:
        content = load_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("cache"), dict):
            raise ValueError("expected an object with `cache`")
        names = content.get("keys")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("expected the list `keys` of names")
        about = {match[1]: match[2] for part in path.parts if (match := _FOLDER.fullmatch(part))}
        if "gpu" not in about:
            raise ValueError("expected a folder gpu_NAME above the file")
    except ValueError as error:
        yield Rejection(str(path), str(error))
        return
    evidence = {f"{tool}_version": version for tool, version in about.items() if tool != "gpu"}
    timings = content.get("timings")
    timings = timings if isinstance(timings, dict) else {}
    for key, text in content["cache"].items():
        place = f"{path}: {key}"
        try:
            times = _times(timings.get(key))
            yield Entry(
                "triton-dejavu", _fields(key, names), _knobs(text), place, about["gpu"], _function(content, path),
                {**evidence, **({} if times is None else {"times_ms": times})},
            )  # fmt: skip
        except ValueError as error:
            yield Rejection(place, str(error))


def _fields(key: str, names: list[str]) -> dict[str, Any]:
    try:
        values = ast.literal_eval(key)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("expected a tuple of plain values as key") from None
    values = values if isinstance(values, tuple) else (values,)
    if len(values) < len(names) or not all(v is None or isinstance(v, bool | int | float | str) for v in values):
        raise ValueError(f"expected a tuple of at least {len(names)} plain values as key")
    rest = values[len(names) :]
    if not all(isinstance(value, str) for value in rest):
        raise ValueError(f"expected dtypes after the {len(names)} values of the key, got {rest!r:.60}")
    fields = dict(zip(names, values, strict=False))
    return {**fields, DTYPES: ",".join(value.removeprefix("torch.") for value in rest)} if rest else fields


def _knobs(text: object) -> dict[str, Any]:
    """Return the knobs of `BLOCK_M: 128, num_warps: 4, maxnreg: None`."""
    if not isinstance(text, str):
        raise ValueError(f"expected a config as text, got {text!r:.60}")
    knobs: dict[str, Any] = {}
    for part in text.split(", "):
        name, separator, value = part.partition(": ")
        if not separator or not name.isidentifier():
            raise ValueError(f"expected `name: value` in the config, got {part!r:.60}")
        knobs[name] = _value(value)
    return check_knobs(knobs)


def _value(text: str) -> Any:
    if _INT.fullmatch(text):
        return int(text)
    return {"True": True, "False": False, "None": None}.get(text, text)


def _times(value: object) -> list[float] | None:
    good = isinstance(value, list) and value and all(type(time) in (int, float) and time >= 0 for time in value)
    return [float(time) for time in value] if good else None  # type: ignore[attr-defined]  # `good` says so


def _function(content: dict[str, Any], path: Path) -> str | None:
    """Return the function's name, from the signature or from the folder below the device's."""
    signature = content.get("signature")
    match = _SIGNATURE.fullmatch(signature) if isinstance(signature, str) else None
    if match is not None:
        return match[1]
    below = [after for part, after in zip(path.parts, path.parts[1:], strict=False) if part.startswith("gpu_")]
    return below[0] if below else None
