"""The legal configs of the average pooling kernels, and the one that a call gets without tuning.

A tile holds 32 x num_warps x (outputs per thread) elements. It is as wide along memory as it can be: in columns for
rows, in rows for the transposed layout.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunedb.device import Device
from tunedb.kernels.avg_pool.launch import LONGEST_UNROLLED_WINDOW, Pool
from tunedb.kernels.geometry import power_of_2_from, power_of_2_to
from tunedb.problem import Config, Problem

WARPS = (1, 2, 4, 8)
OUTPUTS_PER_THREAD = (16, 8, 4)  # 128 compiled into a binary of 600 KB
SQUARER = (1, 4)  # the widest tile of its size, and one a quarter as wide
INTERPRETED_TILES = (65536, 16384, 4096)  # elements: the interpreter pays by the program, not by the element


def forward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """Every config worth trying for y = avg_pool1d(x); the default first."""
    pool = Pool.of_problem(problem)
    return _space(pool, pool.window.output_length(pool.length), device)


def forward_default(problem: Problem, device: Device) -> Config:
    """16 outputs per thread and one warp, which read 99.7 % of copy on the seed's problem."""
    return forward_space(problem, device)[0]


def backward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """Every config worth trying for the gradient; BLOCK_OUT counts columns of grad_x. The default first."""
    pool = Pool.of_problem(problem)
    return _space(pool, pool.length, device)


def backward_default(problem: Problem, device: Device) -> Config:
    """16 outputs per thread and one warp, as going forward."""
    return backward_space(problem, device)[0]


def window_class(problem: Problem) -> tuple[bool, str]:
    """What decides which configs suit, besides the extents: whether taps are unrolled, and how windows overlap."""
    window = Pool.of_problem(problem).window
    overlap = "none" if window.stride >= window.kernel_size else "dense" if window.stride == 1 else "strided"
    return window.kernel_size <= LONGEST_UNROLLED_WINDOW, overlap


def _space(pool: Pool, columns: int, device: Device) -> tuple[Config, ...]:
    most_columns, most_rows = power_of_2_from(columns), power_of_2_to(pool.rows)
    tiles = _interpreted_tiles() if device.backend == "interpreter" else _gpu_tiles()
    found: dict[Config, None] = {}
    for warps, elements, squarer in tiles:
        if pool.layout == "transposed":
            rows = min(elements // squarer, most_rows, 128)
            columns_each = min(elements // rows, most_columns)
        else:
            columns_each = min(elements // squarer, most_columns)
            rows = min(elements // columns_each, most_rows)
        if found and columns_each * rows < 32 * warps:
            continue  # the problem is smaller than the tile: threads would idle
        found[Config.of(BLOCK_OUT=columns_each, ROWS_PER_PROG=rows, num_warps=warps)] = None
    return tuple(found)


def _gpu_tiles() -> Iterator[tuple[int, int, int]]:
    for squarer in SQUARER:
        for warps in WARPS:
            for outputs in OUTPUTS_PER_THREAD:
                yield warps, 32 * warps * outputs, squarer


def _interpreted_tiles() -> Iterator[tuple[int, int, int]]:
    for elements in INTERPRETED_TILES:
        yield 1, elements, 1
