"""From a line of a shapes file, or the command line's options, to a `Pool`: checked, with errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tunedb.errors import SettingError

from ..geometry import Window
from .problem import LAYOUTS, Pool

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
NOTES = {"id", "note"}  # for people
KEYS = {"shape", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "dtype", "layout"}


def pool_of(arguments: Mapping[str, Any], backward: bool) -> Pool:
    """The pool of these arguments: `shape` (N, C, L) or (C, L) and `kernel_size`, and of torch's others what differs.

    `stride` (kernel_size), `padding` (0), `ceil_mode` (False), `count_include_pad` (True), `dtype` ("float32", or
    torch's), `layout` ("rows", "transposed", "general"); `id` and `note` are passed over.

    Raises SettingError, naming the argument, for what torch would refuse or what is not known.
    """
    unknown = sorted(set(arguments) - KEYS - NOTES)
    if unknown:
        raise SettingError(f"{unknown[0]}: no such argument. Known are {', '.join(sorted(KEYS))}.")
    shape = _shape(arguments)
    kernel_size = _integer(arguments, "kernel_size", 1)
    stride = kernel_size if arguments.get("stride") is None else _integer(arguments, "stride", 1)
    padding = _integer(arguments, "padding", 0, 0)
    if padding > kernel_size // 2:
        raise SettingError(f"padding: found {padding}, needed at most half of kernel_size {kernel_size}.")
    ceil_mode, count_include_pad = _switch(arguments, "ceil_mode", False), _switch(arguments, "count_include_pad", True)
    window = Window(kernel_size, stride, padding, ceil_mode, count_include_pad)
    if window.output_length(shape[-1]) < 1:
        raise SettingError(
            f"kernel_size: found {kernel_size}, needed at most {shape[-1] + 2 * padding}, the padded row."
        )
    layout = arguments.get("layout") or "rows"
    if layout not in LAYOUTS:
        raise SettingError(f"layout: found {layout!r}, needed one of {', '.join(LAYOUTS)}.")
    return Pool.of_shape(shape, window, _dtype(arguments), layout, backward=backward)


def _missing(name: str, needed: str) -> SettingError:
    return SettingError(f"{name}: not given, needed {needed}.")


def _shape(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    shape = arguments.get("shape")
    if shape is None:
        raise _missing("shape", "(N, C, L) or (C, L)")
    if not isinstance(shape, list | tuple) or len(shape) not in (2, 3) or not all(type(n) is int for n in shape):
        raise SettingError(f"shape: found {shape!r}, needed two or three ints, (N, C, L) or (C, L).")
    if min(shape) < 1:
        raise SettingError(f"shape: found {shape!r}, needed every extent to be 1 or more.")
    return tuple(shape)


def _integer(arguments: Mapping[str, Any], name: str, least: int, default: int | None = None) -> int:
    value = arguments.get(name, default)
    if value is None:
        raise _missing(name, f"an int of {least} or more")
    if type(value) is not int or value < least:
        raise SettingError(f"{name}: found {value!r}, needed an int of {least} or more.")
    return value


def _switch(arguments: Mapping[str, Any], name: str, default: bool) -> bool:
    value = arguments.get(name, default)
    if type(value) is not bool:
        raise SettingError(f"{name}: found {value!r}, needed true or false.")
    return value


def _dtype(arguments: Mapping[str, Any]) -> torch.dtype:
    value = arguments.get("dtype", "float32")
    found = value if isinstance(value, torch.dtype) else DTYPES.get(value) if isinstance(value, str) else None
    if found is None or found not in DTYPES.values():
        raise SettingError(f"dtype: found {value!r}, needed one of {', '.join(DTYPES)}.")
    return found
