"""One load per tap: serves every problem. See `jit/taps.py`."""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import MAX_UNROLLED_WINDOW, Case, Size, Tile


def taps_serve(case: Case) -> bool:  # noqa: ARG001 - as the other algorithms' functions
    """Say that the algorithm can serve."""
    return True


def taps_tile(size: Size, case: Case, squarer: int = 1) -> Tile:
    """Return the tile of that size, `squarer` times less wide along memory than it could be."""
    _, elements = size
    most_columns, most_rows = power_of_2_from(case.columns), power_of_2_to(case.rows)
    if case.layout == "transposed":
        per_program = min(elements // squarer, most_rows, 128)
        return min(elements // per_program, most_columns), per_program
    block = min(elements // squarer, most_columns)
    return block, min(elements // block, most_rows)


def taps_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],  # noqa: ARG001
    are_in_rows: bool,
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    block, per_program = tile
    columns, kernel_size, stride = case.columns, case.kernel_size, case.stride
    is_short = are_in_rows and (stride == 1 or not case.is_backward)
    is_short &= columns <= block and columns * (columns + per_program * block) < 2**31
    is_short &= max(case.read_length, columns * stride) + 2 * kernel_size < 2**30  # columns are counted in 32 bits
    if is_short:
        programs = cdiv(case.rows * columns, per_program * block)
    else:
        programs = cdiv(case.rows, per_program) * cdiv(columns, block)
    return programs, {"WINDOW": 0 if kernel_size > MAX_UNROLLED_WINDOW else kernel_size, "SHORT": is_short}
