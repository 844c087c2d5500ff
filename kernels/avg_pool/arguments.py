"""The arguments of a pooling problem: declared for the command line, and checked on the way to a problem.

The declaration loads neither torch nor Triton, so that `tunedb warm avg_pool1d --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunedb.core.declaration import NOTES, Argument, dtype_name
from tunedb.errors import SettingError

from ..geometry import Window

if TYPE_CHECKING:
    from tunedb.core.problem import Problem

    from .problem import Pool

DTYPES = ("float16", "bfloat16", "float32", "float64")
ARGUMENTS = (
    Argument("shape", "shape", "The input's shape, such as 64,128,65536; or C,L.", metavar="N,C,L", required=True),
    Argument("kernel_size", "int", "The window's length.", required=True),
    Argument("stride", "int", "From one window to the next.", default="kernel_size"),
    Argument("padding", "int", "Zeros at both ends of a row.", default=0),
    Argument("dtype", "str", f"One of {', '.join(DTYPES)}.", default="float32"),
    Argument("ceil_mode", "bool", "Whether a last, overhanging window counts.", default=False),
    Argument("count_include_pad", "bool", "Whether padding counts in the mean.", default=True),
    Argument("layout", "str", "rows (contiguous), transposed (made as N,L,C), or general.", default="rows"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The pooling that arguments ask for, with torch's name of the dtype."""

    shape: tuple[int, ...]
    window: Window
    dtype: str
    layout: str


def problem_of(arguments: Mapping[str, Any], backward: bool) -> Problem:
    """Return the problem of these arguments, see `read`. Loads no torch."""
    from .problem import problem_of_shape

    kernel = "avg_pool1d_backward" if backward else "avg_pool1d"
    asked = read(arguments)
    return problem_of_shape(kernel, asked.shape, asked.window, asked.dtype, asked.layout, backward=backward)


def pool_of(arguments: Mapping[str, Any], backward: bool) -> Pool:
    """Return the pool of these arguments, see `read`."""
    import torch

    from .problem import Pool

    asked = read(arguments)
    dtype = getattr(torch, asked.dtype)
    return Pool.of_shape(asked.shape, asked.window, dtype, asked.layout, backward=backward)


def read(arguments: Mapping[str, Any]) -> Asked:
    """Check arguments, of which `shape`, (N, C, L) or (C, L), and `kernel_size` are required.

    The others default to torch's: `stride` (kernel_size), `padding` (0), `ceil_mode` (False), `count_include_pad`
    (True), `dtype` ("float32"; a torch dtype too), `layout` ("rows", "transposed", "general"). `id` and `note` are
    ignored.

    Raises SettingError, naming the argument, for unknown arguments and values that torch would refuse.
    """
    from .problem import LAYOUTS

    names = {argument.name for argument in ARGUMENTS}
    unknown = sorted(set(arguments) - names - NOTES)
    if unknown:
        raise SettingError(f"{unknown[0]}: no such argument. Expected some of: {', '.join(sorted(names))}.")
    shape = _shape(arguments)
    kernel_size = _integer(arguments, "kernel_size", 1)
    stride = kernel_size if arguments.get("stride") is None else _integer(arguments, "stride", 1)
    padding = _integer(arguments, "padding", 0, 0)
    if padding > kernel_size // 2:
        raise SettingError(f"padding: expected at most half of kernel_size {kernel_size}, got {padding}.")
    ceil_mode, count_include_pad = _switch(arguments, "ceil_mode", False), _switch(arguments, "count_include_pad", True)
    window = Window(kernel_size, stride, padding, ceil_mode, count_include_pad)
    if window.output_length(shape[-1]) < 1:
        raise SettingError(
            f"kernel_size: expected at most {shape[-1] + 2 * padding}, the padded row, got {kernel_size}."
        )
    layout = arguments.get("layout") or "rows"
    if layout not in LAYOUTS:
        raise SettingError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}.")
    return Asked(shape, window, _dtype(arguments), layout)


def _missing(name: str, expected: str) -> SettingError:
    return SettingError(f"{name} is missing; expected {expected}.")


def _shape(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    shape = arguments.get("shape")
    if shape is None:
        raise _missing("shape", "(N, C, L) or (C, L)")
    if not isinstance(shape, list | tuple) or len(shape) not in (2, 3) or not all(type(n) is int for n in shape):
        raise SettingError(f"shape: expected two or three ints, (N, C, L) or (C, L), got {shape!r}.")
    if min(shape) < 1:
        raise SettingError(f"shape: expected extents of 1 or more, got {shape!r}.")
    return tuple(shape)


def _integer(arguments: Mapping[str, Any], name: str, least: int, default: int | None = None) -> int:
    value = arguments.get(name, default)
    if value is None:
        raise _missing(name, f"an int of {least} or more")
    if type(value) is not int or value < least:
        raise SettingError(f"{name}: expected an int of {least} or more, got {value!r}.")
    return value


def _switch(arguments: Mapping[str, Any], name: str, default: bool) -> bool:
    value = arguments.get(name, default)
    if type(value) is not bool:
        raise SettingError(f"{name}: expected true or false, got {value!r}.")
    return value


def _dtype(arguments: Mapping[str, Any]) -> str:
    value = arguments.get("dtype", "float32")
    name = dtype_name(str(value))  # a torch dtype's text is `torch.float32`
    if name not in DTYPES or not (isinstance(value, str) or type(value).__name__ == "dtype"):
        raise SettingError(f"dtype: expected one of {', '.join(DTYPES)}, got {value!r}.")
    return name
