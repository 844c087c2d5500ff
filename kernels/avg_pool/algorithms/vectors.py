"""Accesses of 16 bytes, windows summed in a thread's registers. See `jit/vectors.py`.

Forward at any stride, and backward at stride 1. A tile holds BLOCK_OUT x ROWS_PER_PROG outputs, wherever rows end. The
constants: CHUNK is how many outputs a thread writes at a time, its group. ALIGNED says that all groups begin at the
same place of 16 bytes that are read, WHOLE that rows of outputs begin with groups, SHORT how the ends of rows are
written: WALLS, OWN_GROUPS, IN_PIECES or APART. WIDE says that places need 64 bits, or that there are several batch
entries. GAP is how much longer a row that is read is than its windows are apart from the next row's, if ends are WALLS,
and how many bytes a piece has, if ends are IN_PIECES.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from
from .case import MAX_COLUMNS_IN_REGISTERS, MAX_UNROLLED_WINDOW, Case, Size, Tile
from .strips import strips_serve

MOST_IN_32_BITS = 2**31 - 2**21  # columns of all rows that are read, and less than a tile
GROUPS_OF_A_THREAD = {16: 2, 8: 1, 4: 4}  # by the elements of a size
MOST_GROUPS = 8  # of a thread, that are loaded at once
WALLS, OWN_GROUPS, IN_PIECES, APART = range(4)  # what SHORT says of ends of rows; from APART on, groups of a thread
GROUPS_IF_APART = 8, 4
MOST_IN_NARROW_PIECES = 128  # columns of a row, whose ends are few if it is longer
MOST_FOR_BYTE = 8  # instructions of a thread, about what reading or writing a byte takes
LEAST_APART = 1 << 18  # threads; smaller problems need more of them than groups of a thread
MOST_APART = 1 << 13  # columns; few tiles of longer rows hold an end
MOST_STRIDE = 16  # at 25 to 30 "strips" took 0.88 to 0.91 of the time, at 9 to 13 1 to 1.3 times as much
MAX_GAP = 8  # columns that a group reads in addition
MAX_BYTES_APART = 64  # groups that a warp's threads read; further apart, each 16 bytes are an access of their own


def outputs_of_group(case: Case) -> int:
    """Count the outputs that a thread can write at a time: those that fill 16 bytes, or fewer if windows lie apart."""
    outputs = case.group
    while outputs > 1 and not (
        columns_of_group(case, outputs) <= MAX_COLUMNS_IN_REGISTERS
        and outputs * case.stride * case.itemsize <= MAX_BYTES_APART
    ):
        outputs //= 2
    return outputs


def columns_of_group(case: Case, outputs: int) -> int:
    """Count the columns under the windows of that many outputs, in registers of 32 bits."""
    return ((outputs - 1) * case.stride + case.kernel_size) * max(case.itemsize // 4, 1)


def vectors_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout != "rows" or (case.is_backward and case.stride > 1):
        return False
    if case.stride == 1 and case.kernel_size > MAX_UNROLLED_WINDOW:
        return False  # "pieces" are quicker
    if case.stride > MOST_STRIDE and strips_serve(case) and (case.itemsize > 2 or case.columns > case.group):
        return False  # by a tenth; but "strips" are slower where they read short rows by 2 bytes
    return columns_of_group(case, outputs_of_group(case)) <= MAX_COLUMNS_IN_REGISTERS


def vectors_tile(size: Size, case: Case) -> Tile | None:
    """Return a tile of one, two or four groups a thread; None if their columns don't fit into its registers."""
    warps, elements = size
    threads = 32 * warps
    ends, outputs, _ = ends_of(case)
    if elements <= 16 * threads:  # not in the interpreter
        groups = GROUPS_OF_A_THREAD.get(elements // threads, 1)
        if case.batch * case.rows * case.columns >= LEAST_APART * outputs_of_group(case):
            groups = min(groups * outputs_of_group(case) // outputs, MOST_GROUPS)  # that write as much as whole ones
        if ends >= APART:
            # A program's few groups at ends are one more turn of its loop: short programs of few warps waste least.
            return (ends * threads * outputs, 1) if elements == 4 * threads else None
        columns = columns_of_group(case, outputs)
        if groups > 1 and groups * columns > 2 * MAX_COLUMNS_IN_REGISTERS:
            return None
        # Windows of 25 doubles, 96 bytes apart: two a thread took 4 to 5 times as long as one, on H100 and H200, by the
        # trials in benchmarks/results/example-sweeps.
        is_apart = case.itemsize == 8 and outputs * case.stride * case.itemsize > MAX_BYTES_APART
        if groups > 1 and is_apart and 2 * columns > MAX_COLUMNS_IN_REGISTERS:
            return None
        elements = groups * threads * outputs
    return max(min(elements, power_of_2_from(case.rows * case.columns)), case.group), 1


def vectors_tiling(
    tile: Tile, case: Case, are_aligned: tuple[bool, bool], are_in_rows: bool
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    assert are_in_rows
    columns = case.columns
    ends, outputs, piece = ends_of(case, are_aligned)
    is_whole = are_aligned[1] and columns % outputs == 0
    is_known = all(are_aligned) and outputs * case.stride % piece == 0
    is_known &= case.rows == 1 or (case.row_step - columns * case.stride) % piece == 0
    pitch = columns + outputs if ends == OWN_GROUPS and outputs > 1 else columns
    slack = 0 if ends == OWN_GROUPS or is_whole else outputs - 1  # the first group may begin before the first row
    constants: dict[str, object] = {"ALIGNED": is_known, "SHORT": ends, "WHOLE": is_whole, "CHUNK": outputs}
    if ends == WALLS:
        constants["GAP"] = case.read_length - columns * case.stride
    elif ends == IN_PIECES:
        constants["GAP"] = piece * case.itemsize
    if case.batch > 1 or case.rows * max(pitch * case.stride, case.read_length) >= MOST_IN_32_BITS:
        constants["WIDE"] = True
    return cdiv(case.rows * pitch + slack, tile[0] * tile[1]), constants


def ends_of(case: Case, are_aligned: tuple[bool, bool] = (True, True)) -> tuple[int, int, int]:
    """Say how ends of rows are written, and how many outputs a group and how many elements a piece has.

    IN_PIECES, no column and no output needs a mask of its own. APART, the groups at a row's ends take a thread's time
    for one group for each tile, if rows are so long that one for each thread is enough. Narrow windows, and ends that
    few tiles hold, are quicker with WALLS.
    """
    outputs = outputs_of_group(case)
    are_pieces, fewer, piece = pieces_of_rows(case, outputs)
    are_pieces &= all(are_aligned) and 1 < case.columns <= MOST_APART
    if are_pieces and ((fewer, piece) == (outputs, case.group) or case.columns <= MOST_IN_NARROW_PIECES):
        return IN_PIECES, fewer, piece
    can_have_walls = has_walls(case, outputs)
    if case.rows > 1 and case.columns <= MOST_APART and not (can_have_walls and case.kernel_size <= 2):
        at_begin = case.kernel_size - 1 - case.padding if case.is_backward else cdiv(case.padding, case.stride)
        at_end = at_begin if case.is_backward else (case.padding + 2 * case.stride - 2) // case.stride
        at_ends = cdiv(at_begin + outputs - 1, outputs) + cdiv(at_end + outputs - 1, outputs)  # groups of a row
        per_thread = 3 if case.kernel_size <= case.group else 2  # what WALLS costs grows with windows
        if case.columns >= max(per_thread * at_ends * outputs, case.kernel_size + 2 * case.padding):
            for groups in GROUPS_IF_APART:
                if case.batch * case.rows * case.columns >= LEAST_APART * groups * outputs:
                    return groups, outputs, case.group
    return WALLS if can_have_walls else OWN_GROUPS, outputs, case.group


def pieces_of_rows(case: Case, outputs: int) -> tuple[bool, int, int]:
    """Say whether rows are whole groups, and what is read of them whole pieces, of 4 bytes or more; return their sizes.

    A group has `outputs` outputs at most. Pieces of 16 bytes are put right by selections; others must not need it.
    """
    read = case.read_length | case.row_step
    outputs = min(outputs, case.columns & -case.columns)
    piece = min(case.group, read & -read)
    if piece < case.group:
        piece = min(piece, outputs * case.stride & -(outputs * case.stride))
    columns = columns_of_group(case, outputs) // max(case.itemsize // 4, 1)
    instructions = 22 + 4 * cdiv(columns, piece) + (5 if case.is_backward and case.padding > 0 else 2) * columns
    fits = instructions <= MOST_FOR_BYTE * outputs * (1 + case.stride) * case.itemsize
    return fits and case.rows > 1 and min(outputs * case.stride, piece) * case.itemsize >= 4, outputs, piece


def has_walls(case: Case, outputs: int) -> bool:
    """Say whether rows are read without gaps, and no group has more than one end of a row next to it."""
    gap = case.read_length - case.columns * case.stride
    # Columns before a row's first that its windows reach; in the gradient, windows of y that hold these are cut too.
    left = case.kernel_size - 1 if case.is_backward else case.padding
    return (
        case.rows > 1  # of a single row, few tiles need masks, and its gap may be anything
        and case.row_step == case.read_length
        and abs(gap) <= MAX_GAP
        and case.columns >= outputs + cdiv(left, case.stride)
        and case.read_length >= outputs * case.stride + case.kernel_size + case.padding
    )
