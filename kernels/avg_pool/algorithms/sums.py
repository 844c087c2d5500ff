"""Wide windows at strides of 2 and more, forward; neighbouring threads share a window. See `jit/sums.py`."""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import WIDEST_AT_A_STRIDE, Case, Size, Tile

WIDEST_SUMMED = 8  # tiles that a window may cover


def sums_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout != "rows" or case.is_backward or case.stride == 1:
        return False
    return case.kernel_size > 2 * case.group and max(case.kernel_size, case.stride) <= WIDEST_AT_A_STRIDE


def sums_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if it makes no sense."""
    _, elements, squarer = size
    if squarer > 1:
        return None
    # If windows share nothing, a thread has registers for twice as many loads in flight.
    elements = elements * (1 if case.kernel_size >= 2 * case.stride else 2) // chunk_of(case)
    block = min(max(elements, 1), power_of_2_from(case.columns))
    if case.kernel_size // case.stride > WIDEST_SUMMED * block:
        return None
    return block, max(min(elements // block, power_of_2_to(case.rows)), 1)


def sums_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    assert are_in_rows
    block, per_program = tile
    programs = cdiv(case.rows, per_program) * cdiv(case.columns, block)
    is_aligned = are_aligned[0] and case.stride % case.group == 0 and case.padding % case.group == 0
    return programs, {"ALIGNED": is_aligned, "CHUNK": chunk_of(case)}


def chunk_of(case: Case) -> int:
    """Count the columns that are read at a time: of a window or, if windows overlap, between two starts."""
    columns = case.stride if case.kernel_size >= 2 * case.stride else case.kernel_size
    if columns <= 8:
        return power_of_2_from(columns)
    return min((64, 32, 16), key=lambda chunk: cdiv(columns, chunk) * chunk)  # the one that leaves least to mask
