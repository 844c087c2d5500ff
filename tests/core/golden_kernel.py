"""A kernel whose hash must be the same on every supported Python and Triton: see `tests.core.golden`."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

LARGEST: tl.constexpr = tl.constexpr(4096)
FACTORS = {"half": 0.5, "one": 1}


@triton.jit
def clipped(x, low, high=None):
    """With a default, and an early return."""
    if high is None:
        return tl.maximum(x, low)
    return tl.minimum(tl.maximum(x, low), high)


@triton.jit
def scale_kernel(y, x, n, factor, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(x + at, mask=at < n, other=0.0)
    for step in tl.static_range(2):
        values = clipped(values * factor, -LARGEST, high=LARGEST) + step * 1e-3
    tl.store(y + at, values, mask=at < n)


def grid_of(n: int, block: int = 128, /, *, most: int = 2**31 - 1) -> tuple[int, ...]:
    """Return the grid, by syntax that Python's versions hold in different ways."""
    programs = [-(-n // block) for _ in range(1)]
    return tuple(min(program, most) for program in programs if f"{program:>{4}}")


def launch(y: Any, x: Any, n: int, name: str = "half") -> None:
    """Launch it."""
    match name:
        case "half" | "one" as known:
            factor = FACTORS[known]
        case _:
            factor = 2.0
    with_options = {"num_warps": 4}
    scale_kernel[grid_of(n)](y, x, n, factor, BLOCK=128, **with_options)
