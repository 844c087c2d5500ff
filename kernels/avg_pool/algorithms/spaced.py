"""The general layout, whose columns do not lie next to each other; what is written does. See `jit/spaced.py`.

Forward with windows that fit a thread's registers, and backward at stride 1. BLOCK_OUT is the outputs of a group,
ROWS_PER_PROG the groups of a program. SHORT says that groups are numbered through the rows of a batch entry.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from
from .case import MAX_COLUMNS_IN_REGISTERS, Case, Size, Tile

WIDEST_SPACED = 33  # a window
FARTHEST_SPACED = 8  # a stride


def spaced_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout != "general" or case.kernel_size > WIDEST_SPACED:
        return False
    return case.stride == 1 or (not case.is_backward and case.stride <= FARTHEST_SPACED)


def spaced_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if it makes no sense."""
    warps, elements = size
    per_thread = min(elements // (32 * warps), 16)
    width = min(2 * per_thread, power_of_2_from(case.columns))
    most = MAX_COLUMNS_IN_REGISTERS // max(case.itemsize // 4, 1)
    while width > 1 and (width - 1) * case.stride + case.kernel_size > most:
        width //= 2
    return width, min(elements // per_thread, power_of_2_from(case.rows * cdiv(case.columns, width)))


def spaced_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],
    are_in_rows: bool,  # noqa: ARG001
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    width, groups = tile
    per_row = cdiv(case.columns, width)
    is_aligned = are_aligned[1] and width % case.group == 0
    is_short = per_row < 8 * groups and per_row * (per_row + groups) < 2**31
    programs = cdiv(case.rows * per_row, groups) if is_short else case.rows * cdiv(per_row, groups)
    return programs, {"ALIGNED": is_aligned, "SHORT": is_short}


def spaced_reach(tile: Tile, case: Case, strides: tuple[int, int, int], is_short: bool) -> int:
    """Return a bound of the elements between two of a tile, in a tensor with these strides."""
    width, groups = tile
    in_a_row = min(groups, cdiv(case.columns, width)) + 1
    columns = in_a_row * width * case.stride + case.kernel_size
    return columns * max(strides[2], 1) + (groups * strides[1] if is_short else 0)
