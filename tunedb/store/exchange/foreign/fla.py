"""flash-linear-attention's `<GPU>/<kernel>.json`: configs that its converter took from Triton's `.autotune.json`.

A file holds one config with `kwargs`, or configs by key, each next to the list `key`; versions of the converter differ
in what is around them. A file that is a copy of Triton's is read as Triton's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunedb.core.known_devices import known_device, spelling
from tunedb.store.exchange.foreign.entry import Entry, Found, Rejection, load_json, split_config
from tunedb.store.exchange.foreign.triton_cache import key_fields, read_content

SUFFIX = ".json"
_MAKERS = ("nvidia_", "amd_", "intel", "tesla_", "radeon_")
_MAX_DEPTH = 5  # of objects around a config


def is_device_folder(name: str) -> bool:
    """Say whether a folder has a GPU's name."""
    return known_device(name) is not None or spelling(name).startswith(_MAKERS)


def read(path: Path, names: tuple[str, ...]) -> Found:
    """Yield the entries of such a file. `names` are those of a key's values."""
    device, function = path.parent.name, path.name.removesuffix(SUFFIX)
    try:
        content = load_json(path, infinite=True)
        configs = [] if _is_triton_s(content) else list(_configs(content, None, _MAX_DEPTH))
        if _is_triton_s(content):
            entry = read_content(content, names, str(path), function, device)
            yield Entry("fla", entry.fields, entry.knobs, entry.place, device, function, entry.evidence)
        elif not configs:
            raise ValueError("no config with kwargs is in the file")
    except ValueError as error:
        yield Rejection(str(path), str(error))
        return
    for number, (key, config) in enumerate(configs):
        place = f"{path}: {number if key is None else ', '.join(map(str, key))}"
        try:
            fields = {} if key is None else key_fields(key, names)
            yield Entry("fla", fields, split_config(_own(config)), place, device, function)
        except ValueError as error:
            yield Rejection(place, str(error))


def _is_triton_s(content: object) -> bool:
    return isinstance(content, dict) and "configs_timings" in content


def _own(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without what stands next to it: its key, and texts about it."""
    return {name: value for name, value in config.items() if name == "kwargs" or value is None or type(value) is int}


def _configs(value: Any, key: list[Any] | None, depth: int) -> Iterator[tuple[list[Any] | None, dict[str, Any]]]:
    """Yield each config in the content, with the nearest key around it."""
    if isinstance(value, dict):
        key = value["key"] if isinstance(value.get("key"), list) else key
        if isinstance(value.get("kwargs"), dict):
            yield key, value
            return
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children if depth else ():
        yield from _configs(child, key, depth - 1)
