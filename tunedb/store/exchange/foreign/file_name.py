"""Names of files that hold configs: `E=8,N=3584,device_name=NVIDIA_H100_80GB_HBM3,dtype=fp8_w8a8.json` and the like.

vLLM, SGLang and Hugging Face's kernels put the problem's fields and the device into the name of a file. All of them
separate `field=value` by commas; a shape in brackets may hold one, with a blank after it in SGLang's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SUFFIX = ".json"
DEVICE = "device_name"
UNNAMED = "unnamed"  # the device of a name with `device_name=` and nothing behind it: SGLang ships some
_DOWN = "_down"  # SGLang's: the second product of a mixture of experts
_PART = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\[[^\]]*\]|[^,\[\]]*)")
_SHAPE = re.compile(r"\[(\d+), ?(\d+)\]")
_LORA = re.compile(
    r"(?P<device>.+?)_(?P<op>(?:FUSED_MOE_LORA_[A-Z0-9_]*?)?(?:SHRINK|EXPAND))(?:_(?P<adds>TRUE|FALSE))?"
)


def parse_name(name: str) -> dict[str, Any]:
    """Return the fields in a file's name, the device under `device_name`. Raises ValueError for a name of another form.

    `block_shape=[128,64]` gives `block_n` and `block_k`, a name that ends in `_down` the field `down`, and one of
    vLLM's LoRA files the fields `op` and `add_inputs`.
    """
    if not name.endswith(SUFFIX):
        raise ValueError(f"expected a name that ends in {SUFFIX}")
    stem = name.removesuffix(SUFFIX)
    if "=" not in stem:
        return _lora(stem)
    is_down = stem.endswith(_DOWN)  # before the dtype is read: dtype=fp8_w8a8_down
    fields: dict[str, Any] = {}
    for part in _parts(stem.removesuffix(_DOWN) if is_down else stem):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"expected field=value in the file's name, got {part!r:.60}")
        field, text = match.groups()
        if field in fields:
            raise ValueError(f"the field {field} is twice in the file's name")
        fields |= _shape(field, text) if text.startswith("[") else {field: _value(field, text)}
    if DEVICE not in fields:
        raise ValueError(f"expected {DEVICE}=... in the file's name")
    fields[DEVICE] = fields[DEVICE] or UNNAMED
    if is_down:
        fields["down"] = True
    return fields


def kind_of(fields: Mapping[str, Any]) -> str:
    """Return what the fields of a name are for: `moe`, `gemm`, `selective_state_update`, `lora` or `other`."""
    if "op" in fields:
        return "lora"
    if {"E", "N"} <= fields.keys():
        return "moe"
    if {"N", "K"} <= fields.keys():
        return "gemm"
    return "selective_state_update" if {"headdim", "dstate"} <= fields.keys() else "other"


def _parts(stem: str) -> list[str]:
    return re.split(r",(?![^\[]*\])", stem)


def _shape(field: str, text: str) -> dict[str, int]:
    match = _SHAPE.fullmatch(text)
    if match is None or field != "block_shape":
        raise ValueError(f"expected block_shape=[n,k] in the file's name, got {field}={text:.40}")
    return {"block_n": int(match[1]), "block_k": int(match[2])}


def _value(field: str, text: str) -> Any:
    if field != DEVICE and re.fullmatch(r"\d{1,18}", text):
        return int(text)
    return {"True": True, "False": False}.get(text, text)


def _lora(stem: str) -> dict[str, Any]:
    match = _LORA.fullmatch(stem)
    if match is None:
        raise ValueError("the file's name is none of vLLM's, SGLang's or Hugging Face's")
    adds = {} if match["adds"] is None else {"add_inputs": match["adds"] == "TRUE"}
    return {DEVICE: match["device"], "op": match["op"].lower(), **adds}
