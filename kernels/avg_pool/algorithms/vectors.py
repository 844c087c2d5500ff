"""Accesses of 16 bytes, windows summed in a thread's registers. See `jit/vectors.py`.

Forward at any stride, and backward at stride 1.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import MAX_COLUMNS_IN_REGISTERS, Case, Size, Tile

MAX_ADDITIONS = 1536  # in all copies of the code, if windows share no sums; three times as many took 9 s to compile


def span(case: Case) -> int:
    """Count the columns under the windows of one group, which is as many outputs as fill 16 bytes."""
    return (case.group - 1) * case.stride + case.kernel_size


def vectors_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout != "rows" or (case.is_backward and case.stride > 1):
        return False
    fits = span(case) * max(case.itemsize // 4, 1) <= MAX_COLUMNS_IN_REGISTERS
    return fits and (case.stride == 1 or case.group**2 * case.kernel_size <= MAX_ADDITIONS)


def vectors_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size, less where its columns don't fit into its threads' registers."""
    return tile_of_groups(size, case, span(case))


def tile_of_groups(size: Size, case: Case, columns: int) -> Tile | None:
    """Return a tile whose threads hold groups with that many 32-bit `columns` each; None if it makes no sense."""
    warps, elements, squarer = size
    threads, width = 32 * warps, case.group
    if squarer > 1:
        return None
    columns *= max(case.itemsize // 4, 1)
    if elements <= 16 * threads:  # not in the interpreter
        while elements > threads * width and elements // (threads * width) * columns > 2 * MAX_COLUMNS_IN_REGISTERS:
            elements //= 2
    block = max(min(elements, power_of_2_from(case.columns)), width)
    return block, max(min(elements // block, power_of_2_to(case.rows)), 1)


def vectors_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool, can_be_short: bool = True
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    assert are_in_rows
    block, per_program = tile
    columns, width = case.columns, case.group
    is_aligned = are_aligned[1] and columns % width == 0
    if case.stride == 1 or not case.is_backward:
        is_aligned &= are_aligned[0] and case.read_length % width == 0
    is_short = can_be_short and is_aligned and columns <= block
    is_short &= columns * (columns + per_program * block) < 2**31  # as `in_short_rows` divides
    # Not aligned, tiles of one row begin where stores are aligned.
    slack = width - 1 if not is_aligned and per_program == 1 else 0
    if is_short:
        programs = cdiv(case.rows * cdiv(columns, width), per_program * block // width)
    else:
        programs = cdiv(case.rows, per_program) * cdiv(columns + slack, block)
    return programs, {"ALIGNED": is_aligned, "SHORT": is_short}
