"""The gradient at strides of 2 and more, each thread reading the windows that hold its group. See `jit/gather.py`."""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from
from .case import MAX_COLUMNS_IN_REGISTERS, WIDEST_AT_A_STRIDE, Case, Size, Tile

MAX_GATHERED_WINDOWS = 12  # windows that hold some element of a group of x; `spread` is quicker with more
FEW_ELEMENTS = 2**18  # too few for programs of four groups a thread to fill a GPU
LONGEST_NARROW_ROW = 2**31 - 8 * WIDEST_AT_A_STRIDE  # columns behind a row's end still fit into 32 bits


def gathered(case: Case) -> int:
    """Count the windows that may hold an element of one group of x, which is as many elements as fill 16 bytes."""
    return (case.kernel_size - 1) // case.stride + (case.stride + case.group - 2) // case.stride + 1


def is_array_served(case: Case) -> bool:
    """Say whether the rows of a batch entry of x can be written as one array: at most one ends in a group."""
    if case.layout == "transposed" or not case.is_backward or case.length < case.group:
        return False
    fits = case.length >= 2**31 or case.length < LONGEST_NARROW_ROW
    return fits and max(case.kernel_size, case.stride) <= WIDEST_AT_A_STRIDE


def gather_serves(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    return is_array_served(case) and case.stride > 1 and gathered(case) <= MAX_GATHERED_WINDOWS


def gather_tile(size: Size, case: Case) -> Tile | None:
    """Return a tile of two or four groups a thread; None if their windows don't fit into its registers."""
    return tile_of_array(size, case, gathered(case) + case.group)


def tile_of_array(size: Size, case: Case, columns: int) -> Tile | None:
    """Return a tile of two or four groups a thread, which holds that many 32-bit `columns` for each; None if it can't.

    Few elements are shared out to more programs, one group a thread.
    """
    warps, elements = size
    threads, width = 32 * warps, case.group
    if elements <= 16 * threads:  # not in the interpreter
        groups = elements // (4 * threads)
        if warps == 1 or groups == (4 if case.batch * case.rows * case.length <= FEW_ELEMENTS else 1):
            return None  # slower in all problems measured
        if groups > 1 and groups * columns * max(case.itemsize // 4, 1) > 2 * MAX_COLUMNS_IN_REGISTERS:
            return None
        elements = groups * threads * width
    return max(min(elements, power_of_2_from(case.rows * case.length)), width), 1


def gather_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],
    are_in_rows: bool,  # noqa: ARG001 - the columns of what is read may have any stride
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    block = tile[0]
    # Multiples of so many elements are where rows may begin; 0 if tiles do not begin with the array, but where stores
    # are aligned.
    grain = min(case.length & -case.length, case.group) if are_aligned[1] else 0
    slack = 0 if grain else case.group - 1
    elements = case.rows * case.length
    is_narrow = case.batch == 1 and elements + block + case.length < LONGEST_NARROW_ROW
    # A row's first windows: those that may hold a column of a group in which the row before ends.
    nexts = min((case.group - 1 - max(grain, 1) + case.padding) // case.stride + 1, case.out_length)
    constants: dict[str, object] = {
        "ALIGNED": grain,
        "SHORT": case.length < block,
        "WIDE": not is_narrow,
        "CHUNK": 0 if grain == case.group else nexts,
    }
    return cdiv(elements + slack, block), constants
