"""The legal configs of the average pooling kernels, and the one that a call gets without tuning.

A tile holds 32 x num_warps x (elements per thread) elements. It is as wide along memory as it can be: in columns for
the layout "rows", in rows for "transposed". If other algorithms can serve, only a few tiles of "taps" are tried.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem

from .algorithms import algorithms, tile_of_size
from .algorithms.case import MAX_UNROLLED_WINDOW
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
    is_interpreted = device.backend == "interpreter"
    tiles = tuple(_interpreted_tiles() if is_interpreted else _gpu_tiles())
    configs: dict[Config, None] = {}
    case = pool.case(backward)
    for algorithm in algorithms(case):
        for warps, elements, squarer in tiles[:1] if is_interpreted and configs else tiles:
            if algorithm == "taps" and configs and (squarer > 1 or warps not in (1, 4)):
                continue  # a fallback here: a few of its tiles will do
            tile = tile_of_size(algorithm, (warps, elements, squarer), case)
            if tile is not None:
                names = {"ALGORITHM": algorithm, "BLOCK_OUT": tile[0], "ROWS_PER_PROG": tile[1], "num_warps": warps}
                configs[Config.of(**names)] = None
    return tuple(configs)


def _gpu_tiles() -> Iterator[tuple[int, int, int]]:
    for squarer in SQUARER:
        for warps in WARPS:
            for outputs in ELEMENTS_PER_THREAD:
                yield warps, 32 * warps * outputs, squarer


def _interpreted_tiles() -> Iterator[tuple[int, int, int]]:
    for elements in INTERPRETED_TILES:
        yield 1, elements, 1
