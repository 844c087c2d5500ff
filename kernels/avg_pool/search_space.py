"""The legal configs of the average pooling kernels, and the one that a call gets without tuning.

Each algorithm has a few tiles that won on sampled problems: see `algorithms/`.
"""

from __future__ import annotations

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem

from .algorithms import algorithms, tiles_of
from .algorithms.case import MAX_UNROLLED_WINDOW
from .problem import case_of, window_of


def forward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """List every config worth trying for y = avg_pool1d(x), the default first."""
    return _space(problem, device, backward=False)


def forward_default(problem: Problem, device: Device) -> Config:
    """Return the config that a forward call gets without tuning."""
    return forward_space(problem, device)[0]


def backward_space(problem: Problem, device: Device) -> tuple[Config, ...]:
    """List every config worth trying for the gradient, the default first."""
    return _space(problem, device, backward=True)


def backward_default(problem: Problem, device: Device) -> Config:
    """Return the config that a backward call gets without tuning."""
    return backward_space(problem, device)[0]


def window_class(problem: Problem) -> tuple[bool, str]:
    """Return what decides, besides the extents, which configs suit: are taps unrolled, and how do windows overlap?"""
    window = window_of(problem)
    overlap = "none" if window.stride >= window.kernel_size else "dense" if window.stride == 1 else "strided"
    return window.kernel_size <= MAX_UNROLLED_WINDOW, overlap


def _space(problem: Problem, device: Device, *, backward: bool) -> tuple[Config, ...]:
    is_interpreted = device.backend == "interpreter"
    case = case_of(problem, backward)
    configs: list[Config] = []
    for algorithm in algorithms(case):
        tiles = tiles_of(algorithm, case, 0 if is_interpreted else device.multiprocessors)
        for block, per_program, warps in tiles[:1] if is_interpreted and configs else tiles:
            names = {"ALGORITHM": algorithm, "BLOCK_OUT": block, "ROWS_PER_PROG": per_program, "num_warps": warps}
            configs.append(Config.of(**names))
    return tuple(configs)
