"""The gradient at strides of 2 and more, each thread reading the windows that hold its group. See `jit/gather.py`."""

from __future__ import annotations

from .case import WIDEST_AT_A_STRIDE, Case, Size, Tile
from .vectors import tile_of_groups, vectors_tiling

MAX_GATHERED_WINDOWS = 40  # windows that hold some element of a group of x


def gathered(case: Case) -> int:
    """Count the windows that may hold an element of one group of x, which is as many elements as fill 16 bytes."""
    return (case.kernel_size - 1) // case.stride + (case.stride + case.group - 2) // case.stride + 1


def gather_serves(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout != "rows" or not case.is_backward or case.stride == 1:
        return False
    return max(case.kernel_size, case.stride) <= WIDEST_AT_A_STRIDE and gathered(case) <= MAX_GATHERED_WINDOWS


def gather_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size, less where its columns don't fit into its threads' registers."""
    return tile_of_groups(size, case, gathered(case) + case.group)


def gather_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    return vectors_tiling(tile, case, are_aligned, are_in_rows)
