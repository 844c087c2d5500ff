"""Files of vLLM, SGLang and Hugging Face's kernels: fields and device in the name, configs by the number of rows.

Such a file holds `{"triton_version": "3.6.0", "16": {"BLOCK_SIZE_M": 16, ...}}`; the version may be missing, and its
own tool ignores it. In SGLang's tree the folder `triton_3_6_0` has it. vLLM's LoRA files nest the keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunedb.store.exchange.foreign.entry import Entry, Found, Rejection, check_knobs, load_json
from tunedb.store.exchange.foreign.file_name import DEVICE, kind_of, parse_name

TOOL = "json-configs"
TRITON_VERSION = "triton_version"
ROWS = "M"  # the field of the keys; of a selective state update it is the batch times the heads
_NUMBER = re.compile(r"\d{1,18}")
_FOLDER = re.compile(r"triton_(\d+(?:_\d+)+)")
_LORA_KEYS = ("max_loras", "num_slices", ROWS, "K", "N", "intermediate")  # the last one for mixtures of experts only


def read(path: Path) -> Found:
    """Yield the entries of such a file."""
    try:
        fields = parse_name(path.name)
        content = load_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object of configs, got a {type(content).__name__}")
        version = content.pop(TRITON_VERSION, None) or _version_of_folder(path)
        if not (version is None or isinstance(version, str)):
            raise ValueError(f"{TRITON_VERSION}: expected a text, got {version!r:.40}")
        if content and not any(map(_NUMBER.fullmatch, content)):  # a file of another kind
            raise ValueError(f"expected whole numbers as keys, got {', '.join(content):.60}")
    except ValueError as error:
        yield Rejection(str(path), str(error))
        return
    evidence = {} if version is None else {TRITON_VERSION: version}
    device = str(fields.pop(DEVICE))
    for keys, config in _leaves(content, _LORA_KEYS if kind_of(fields) == "lora" else (ROWS,)):
        place = f"{path}: {'/'.join(keys.values())}"
        try:
            if not all(map(_NUMBER.fullmatch, keys.values())):
                raise ValueError(f"expected whole numbers as keys, got {'/'.join(keys.values()):.60}")
            numbers = {name: int(key) for name, key in keys.items()}
            yield Entry(TOOL, {**fields, **numbers}, check_knobs(config), place, device, None, evidence)
        except ValueError as error:
            yield Rejection(place, str(error))


def _version_of_folder(path: Path) -> str | None:
    match = _FOLDER.fullmatch(path.parent.name)
    return None if match is None else match[1].replace("_", ".")


def _leaves(content: dict[str, Any], names: tuple[str, ...]) -> Iterator[tuple[dict[str, str], Any]]:
    """Yield what is below the keys, as many levels deep as objects of objects go, with the keys by name."""
    for key, value in content.items():
        is_nested = len(names) > 1 and isinstance(value, dict) and any(isinstance(one, dict) for one in value.values())
        below = _leaves(value, names[1:]) if is_nested else [({}, value)]
        for keys, leaf in below:
            yield {names[0]: key, **keys}, leaf
