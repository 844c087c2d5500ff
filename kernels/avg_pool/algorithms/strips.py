"""Wide windows at strides of 2 and more, forward: sums of the columns between window starts. See `jit/strips.py`.

BLOCK_OUT is the number of strips of a tile; the last of them, its halo, begin no window of the tile's own. ALIGNED is 1
if rows and strips begin at multiples of 16 bytes, else how many elements are loaded at once wherever a strip begins (0
if one), and WHOLE says that no such load is of two rows. SHORT says that the strips of all rows are numbered through,
CHUNK how many columns of a strip are read at a time.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import WIDEST_ALIGNMENT, WIDEST_AT_A_STRIDE, Case, Size, Tile

BYTES_OF_PROGRAM = 1900  # to read; starting a program for less takes longer
MOST_STRIPS = 4096  # of a tile
STRIP_REGISTERS = 32  # elements of a chunk that a thread holds
LONG_ROW = 4096  # columns; most tiles of shorter rows need masks
MOST_LOADS = 8  # of 16 bytes each in a thread, if more threads can share a strip
THREADS_TO_FILL = 1 << 17  # fewer than these leave a large GPU idle


def strips_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    if case.layout == "transposed" or case.is_backward or case.stride == 1:
        return False
    if case.kernel_size <= 2 * case.group or max(case.kernel_size, case.stride) > WIDEST_AT_A_STRIDE:
        return False
    # Windows far longer than their row are for "rows".
    return 3 * halo_of(case) <= 2 * MOST_STRIPS and halo_of(case) <= 4 * case.columns


def strips_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size, or one that its halo fits into; None if it makes no sense."""
    warps, elements = size
    width, halo = elements_of_load(case, case.alignment == WIDEST_ALIGNMENT), halo_of(case)
    chunk = chunk_of(case, width, width - 1)
    is_interpreted = elements > 512 * warps  # tiles are larger there
    if width == case.group and not is_interpreted:
        chunks = cdiv(columns_of_strip(case) + width - 1, chunk)
        block = min(max(power_of_2_to(4 * elements // chunks), 256 * warps), 1024 * warps) // chunk
    else:
        block = power_of_2_to(4 * elements // max(cdiv(columns_of_strip(case), chunk), 4)) // (chunk // width)
    if warps < 4 and 2 * halo > block and not is_interpreted:
        return None  # tiles of more warps have a smaller share of halo
    least = power_of_2_from(cdiv(BYTES_OF_PROGRAM, columns_of_strip(case) * case.itemsize))
    if width < case.group and case.itemsize == 2 and case.length < LONG_ROW:  # one warp with more strips is as fast
        least = max(least, min(power_of_2_from(16 * halo), 256, 32 * warps * STRIP_REGISTERS // chunk))
    block = max(block, min(power_of_2_from(4 * halo), MOST_STRIPS), least)
    block = min(block, MOST_STRIPS, power_of_2_from(case.batch * case.rows * (case.columns + halo)))
    too_wide = block * max(case.stride, case.kernel_size) >= 2**29
    if block <= halo or too_wide or (not is_interpreted and block * chunk > 32 * warps * STRIP_REGISTERS):
        return None
    return block, 1


def strips_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],
    are_in_rows: bool,
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, and the constants that are not the default."""
    columns, halo = case.columns, halo_of(case)
    outputs, per_row = tile[0] - halo, columns + halo
    alignment, chunk = 0, chunk_of(case)
    if (
        are_in_rows
        and are_aligned[0]
        and all(number % case.group == 0 for number in (case.stride, case.padding, case.length))
    ):
        alignment, chunk = 1, chunk_of(case, case.group)
    elif are_in_rows and elements_of_load(case, are_aligned[0]) > 1:
        alignment = elements_of_load(case, are_aligned[0])
        chunk = chunk_of(case, alignment, alignment - 1)
    # Numbered through, every row has a halo, and all tiles need masks; else a row's last tile may be half empty.
    tiles = cdiv(columns, outputs)
    is_short = 4 * per_row < (3 if tiles > 2 else 3.5) * tiles * outputs
    is_short &= per_row * (per_row + tile[0]) < 2**31  # as `in_short_rows` divides
    is_short &= per_row * case.stride + case.kernel_size < 2**29
    programs = cdiv(case.rows * per_row, outputs) if is_short else case.rows * tiles
    is_uncut = alignment > 1 and are_aligned[0] and are_loads_uncut(case, alignment)
    return programs, {"ALIGNED": alignment, "SHORT": is_short, "CHUNK": chunk, "WHOLE": is_uncut}


def halo_of(case: Case) -> int:
    """Count the strips that a window needs after its first."""
    return (case.kernel_size - 1) // case.stride


def columns_of_strip(case: Case) -> int:
    """Count the columns of a strip that some window holds."""
    return min(case.stride, case.kernel_size)


def elements_of_load(case: Case, is_aligned: bool) -> int:
    """Count the elements that a thread loads at once wherever strips begin: several if they are small and many.

    Pairs cost least where no row ends within one, or where few tiles hold the end of a row; else whole groups do,
    unless strips are too short for them. So said instructions, counted for sm_90.
    """
    columns = columns_of_strip(case)
    if case.layout != "rows" or case.itemsize != 2 or columns < case.group:
        return 1
    if columns >= 8 * case.group:
        return case.group
    is_short = case.length < LONG_ROW
    if is_short and is_aligned and are_loads_uncut(case, 2):
        return 2
    if is_short or columns < 4 * case.group:
        return case.group if columns >= 2 * case.group else 1
    return 2


def are_loads_uncut(case: Case, width: int) -> bool:
    """Say whether aligned loads of `width` elements lie in an aligned row as a whole or not at all."""
    return case.length % width == 0 and case.stride % width == 0


def chunk_of(case: Case, width: int = 1, slack: int = 0) -> int:
    """Count the columns of a strip that are read at a time: those that cost least, or more if threads would idle.

    A thread reads `width` of them. The first one read lies up to `slack` columns before the strip.
    """
    columns = columns_of_strip(case)
    sums = 1 if case.kernel_size % case.stride == 0 or case.kernel_size < case.stride else 2
    extra = 3 if case.length < LONG_ROW else 0  # instructions of a mask
    lanes = lanes_for(columns, case.stride, case.itemsize, width, slack, sums, extra)
    strips = case.batch * case.rows * case.columns
    while strips * lanes < THREADS_TO_FILL and 4 * lanes * width < columns and lanes < 256:
        lanes *= 2
    return lanes * width


def lanes_for(
    columns: int, pitch: int, itemsize: int, width: int = 1, slack: int = 0, sums: int = 1, extra: int = 0
) -> int:
    """Count the threads that read a strip of `columns`, each `width` at a time; strips lie `pitch` elements apart.

    Those that cost least clocks of a multiprocessor: of instructions, which grow with them and with the `sums` that
    they keep (`extra` ones for each load), and of lines of memory touched, which grow if they are few.
    """

    def clocks(lanes: int) -> float:
        loads = cdiv(columns + slack, lanes * width)
        exchanges = 2 * max(lanes.bit_length() - 4, 0) + 2 * width + 1  # see `over_threads`
        selections = 2 * width * min(loads, 2) if slack else 0
        instructions = lanes * (6 + loads * (1 + extra + 2 * width) + selections + sums * exchanges) + 20 * sums
        # A warp reads parts of 32 / lanes strips; each load touches as many lines of 128 bytes, or those they span.
        strips, part = 32 // lanes, lanes * width * itemsize
        lines = min(strips * (1 + part / 128), 1 + ((strips - 1) * pitch * itemsize + part) / 128)
        issued, touched = instructions / 128, loads * lines / strips / (2 if slack else 1)
        return max(issued, touched) + (issued + touched) / 4

    def is_enough(lanes: int) -> bool:
        return lanes == 32 or not slack or columns + slack <= MOST_LOADS * lanes * width

    return min(filter(is_enough, (1, 2, 4, 8, 16, 32)), key=clocks)
