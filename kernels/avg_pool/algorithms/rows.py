"""Rows that fit a tile, whose windows see most of them; forward and backward. See `jit/rows.py`.

A program has whole rows; BLOCK_OUT is at least as long as one that is written. CHUNK says how many columns are read at
a time, ALIGNED how many such chunks a row has, all of which are added up; it is 0 if sums run from both ends of a row.
SHORT is 1 if every window covers the whole row, and 2 more if aligned pieces of 16 bytes are
read or, backward, written.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import Case, Size, Tile
from .strips import BYTES_OF_PROGRAM, lanes_for

LONGEST_ROW = 1024
MOST_OF_THREAD = 32  # elements of rows, if a program has more than that
SHORT_ROW = 128
FEW_WINDOWS = 4  # as MOST_WINDOWS of the kernel


def rows_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout == "transposed" or max(case.length, case.out_length) > LONGEST_ROW:
        return False
    if do_windows_cover(case):
        return True
    if case.out_length <= FEW_WINDOWS:  # forward, columns that no window holds would be read for nothing
        return case.is_backward or 4 * columns_held(case) >= 3 * case.length
    if case.itemsize == 8 and case.stride == 1:
        return False  # "pieces" took 0.37 of the time
    return do_windows_end_outside(case)


def rows_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if its threads would hold too much."""
    warps, elements = size
    columns = power_of_2_from(case.columns)
    if elements > 512 * warps:  # in the interpreter
        return columns, max(min(elements // columns, power_of_2_to(case.rows)), 1)
    if warps == 1 and is_written_over_ends(case):
        return None
    fewest = power_of_2_from(cdiv(BYTES_OF_PROGRAM, (case.length + case.out_length) * case.itemsize))
    per_program = max(fewest * elements // (256 if warps == 1 else 128 * warps), 1)
    if per_program * max(columns, case.read_length) > MOST_OF_THREAD * 32 * warps:
        per_program = min(per_program, fewest)
    return columns, max(min(per_program, power_of_2_to(case.rows)), 1)


def rows_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    length, itemsize, width = case.length, case.itemsize, case.group
    is_covered = do_windows_cover(case)
    chunk, slack = power_of_2_from(case.read_length), 0
    is_added_up = is_covered or case.out_length <= FEW_WINDOWS
    are_pieces = is_added_up and not case.is_backward and are_in_rows and itemsize == 2 and length >= 4 * width
    are_pieces &= not (are_aligned[0] and length % width == 0)
    if are_pieces:
        slack = width - 1
        chunk = width * lanes_for(length, length, itemsize, width, slack)
    elif is_added_up and not case.is_backward:
        lanes = lanes_for(length, length, itemsize)
        if is_covered and case.out_length > 1 and length <= SHORT_ROW:
            lanes = min(lanes, 8)  # a row's sum is handed to its threads by one exchange for each doubling of them
        chunk = min(chunk, lanes)
    elif not is_added_up:  # in some layouts Triton 3.8 can't pick many elements from a tile of fewer
        chunk = max(chunk, power_of_2_from(case.columns))
    chunks = cdiv(case.read_length + slack, chunk) if is_added_up else 0
    programs = cdiv(case.rows, tile[1])
    if is_written_over_ends(case):
        are_pieces = True
        programs = cdiv(case.rows * length + width - 1, tile[0] * tile[1])
    return programs, {"SHORT": is_covered + 2 * are_pieces, "ALIGNED": chunks, "CHUNK": chunk}


def is_written_over_ends(case: Case) -> bool:
    """Say whether the gradient of whole rows is written by aligned pieces, each of up to two rows."""
    is_odd = case.itemsize == 2 and case.length >= case.group and case.length % case.group > 0
    return is_odd and case.is_backward and case.out_length <= FEW_WINDOWS and do_windows_cover(case)


def do_windows_cover(case: Case) -> bool:
    """Say whether every window covers the whole row."""
    last_start = (case.out_length - 1) * case.stride - case.padding
    return last_start <= 0 and case.kernel_size - case.padding >= case.length


def columns_held(case: Case) -> int:
    """Count the columns of a row that some window holds."""
    count = end = 0
    for start in range(-case.padding, case.out_length * case.stride - case.padding, case.stride):
        end, before = min(start + case.kernel_size, case.length), end
        count += max(end - max(start, before), 0)
    return count


def do_windows_end_outside(case: Case) -> bool:
    """Say whether every window covers the row's beginning or its end and, backward, the first window ends last."""
    if case.kernel_size < case.length:
        return False
    return not case.is_backward or (case.out_length - 1) * case.stride <= case.kernel_size
