"""The legal configs of the average pooling kernels, and the one that a call gets without tuning.

A tile holds 32 x num_warps x (elements per thread) elements. It is as wide along memory as it can be: in columns for
the layout "rows", in rows for "transposed". If other algorithms can serve, only a few tiles of "taps" are tried.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem

from ..geometry import power_of_2_from, power_of_2_to
from .algorithms import (
    MAX_UNROLLED_WINDOW,
    WIDEST_ALIGNMENT,
    algorithms,
    can_run,
    chunk_of,
    fitting,
)
from .problem import Pool

WARPS = (1, 2, 4, 8)
ELEMENTS_PER_THREAD = (16, 8, 4)  # more would bloat the code: 128 compiled into a binary of 600 KB
SQUARER = (1, 4)  # the widest tile of its size, and one a quarter as wide
INTERPRETED_TILES = (65536, 16384, 4096)  # elements: the cost of the interpreter grows with programs, not with elements


def forward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """List every config worth trying for y = avg_pool1d(x), the default first."""
    pool = Pool.of_problem(problem)
    return _space(pool, device, backward=False)


def forward_default(problem: Problem, device: Device) -> Config:
    """Return the config that a forward call gets without tuning: one warp, 16 elements per thread."""
    return forward_space(problem, device)[0]


def backward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """List every config worth trying for the gradient, the default first."""
    pool = Pool.of_problem(problem)
    return _space(pool, device, backward=True)


def backward_default(problem: Problem, device: Device) -> Config:
    """Return the config that a backward call gets without tuning."""
    return backward_space(problem, device)[0]


def window_class(problem: Problem) -> tuple[bool, str]:
    """Return what decides, besides the extents, which configs suit: are taps unrolled, and how do windows overlap?"""
    window = Pool.of_problem(problem).window
    overlap = "none" if window.stride >= window.kernel_size else "dense" if window.stride == 1 else "strided"
    return window.kernel_size <= MAX_UNROLLED_WINDOW, overlap


def _space(pool: Pool, device: Device, *, backward: bool) -> tuple[Config, ...]:
    columns = pool.length if backward else pool.window.output_length(pool.length)
    is_interpreted = device.backend == "interpreter"
    tiles = tuple(_interpreted_tiles() if is_interpreted else _gpu_tiles())
    configs: dict[Config, None] = {}
    kind = (pool.layout, pool.dtype.itemsize, pool.window.kernel_size, pool.window.stride, backward)
    for algorithm in algorithms(*kind):
        for warps, elements, squarer in tiles[:1] if is_interpreted and configs else tiles:
            if algorithm == "taps" and configs and (squarer > 1 or warps not in (1, 4)):
                continue  # a fallback here: a few of its tiles will do
            shape = tile_shape(algorithm, (warps, elements, squarer), (pool.rows, columns), *kind)
            if shape is not None:
                block, per_program = shape
                names = {"ALGORITHM": algorithm, "BLOCK_OUT": block, "ROWS_PER_PROG": per_program, "num_warps": warps}
                configs[Config.of(**names)] = None
    return tuple(configs)


def tile_shape(
    algorithm: str,
    size: tuple[int, int, int],
    extents: tuple[int, int],
    layout: str,
    itemsize: int,
    kernel_size: int,
    stride: int,
    is_backward: bool,
) -> tuple[int, int] | None:
    """Return BLOCK_OUT and ROWS_PER_PROG of a tile; None if it makes no sense for the problem.

    `size` is how many warps a program has, how many elements its tile, and by how much that is less wide than it
    could be; `extents` are the rows and columns of what is written. An exported module holds a copy of this function.
    """
    warps, elements, squarer = size
    least, chunk, threads = 1, 1, 32 * warps
    most_columns, most_rows = power_of_2_from(extents[1]), power_of_2_to(extents[0])
    if algorithm == "taps":
        if layout == "transposed":
            per_program = min(elements // squarer, most_rows, 128)
            block = min(elements // per_program, most_columns)
        else:
            block = min(elements // squarer, most_columns)
            per_program = min(elements // block, most_rows)
    elif squarer > 1:
        return None
    else:
        if algorithm == "sums":
            chunk = chunk_of(kernel_size, stride)
            # If windows share nothing, a thread has registers for twice as many loads in flight.
            elements = max(elements * (1 if kernel_size >= 2 * stride else 2) // chunk, 1)
        else:
            if algorithm == "vectors" and elements <= threads * ELEMENTS_PER_THREAD[0]:  # not in the interpreter
                elements = fitting(elements, threads, itemsize, kernel_size, stride, is_backward)
            least = WIDEST_ALIGNMENT // itemsize
        block = max(min(elements, most_columns), least)
        per_program = max(min(elements // block, most_rows), 1)
        if not can_run(algorithm, block, layout, itemsize, kernel_size, stride, is_backward):
            return None
    if block * per_program * chunk < threads and warps > 1:
        return None  # the problem is smaller than the tile: threads would idle
    return block, per_program


def _gpu_tiles() -> Iterator[tuple[int, int, int]]:
    for squarer in SQUARER:
        for warps in WARPS:
            for outputs in ELEMENTS_PER_THREAD:
                yield warps, 32 * warps * outputs, squarer


def _interpreted_tiles() -> Iterator[tuple[int, int, int]]:
    for elements in INTERPRETED_TILES:
        yield 1, elements, 1
