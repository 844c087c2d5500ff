"""The transposed layout, forward and backward: a thread pools a run of outputs of its channel. See `jit/columns.py`.

BLOCK_OUT is the length of a run: outputs forward, backward strips of `stride` columns. ROWS_PER_PROG counts a program's
pairs of a run and a channel. Of the constants, ALIGNED is how many channels a thread reads in one access, CHUNK how
many columns neighbouring lanes read (forward) or write (backward) at a time, GAP the number of rows if columns have no
gaps, and SHORT says that tiles go on into the next batch entry.
"""

from __future__ import annotations

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .case import MAX_COLUMNS_IN_REGISTERS, Case, Size, Tile

WIDEST_RUN = 1 << 16  # columns of kernel size and stride: a tile's columns have to fit into 32 bits
MOST_CHANNELS = 1 << 14  # that items are divided by, without 64 bits
MOST_ITEMS = 1 << 30
MOST_UNROLLED = 64  # columns that a thread reads, as each makes the kernel slower to compile
WIDEST_STRIP = 32  # columns that one thread sums; neighbours share wider ones
CHANNELS_TOGETHER = 64  # that neighbours read who share a strip
WIDEST_TOGETHER = 8  # bytes of a thread's access
LEAST_BYTES_TOGETHER = 128  # bytes that lie next to each other, for each of a thread's: begun sectors are written twice


def columns_serve(case: Case) -> bool:
    """Say whether the algorithm can serve."""
    return (
        case.layout == "transposed"
        and max(case.kernel_size, case.stride) <= WIDEST_RUN
        and case.rows <= MOST_CHANNELS
        and case.rows * (max(case.length, case.out_length) + case.padding) < MOST_ITEMS
    )


def columns_tile(size: Size, case: Case) -> Tile | None:
    """Return the tile of that size; None if it makes no sense."""
    warps, elements = size
    per_thread = elements // (32 * warps)
    run = length_of_run(min(per_thread, 16), case)
    together = together_of(run, case)
    turns = cdiv(case.stride, split_of(case)) if case.is_backward else max(min(case.kernel_size, case.stride) // 2, 1)
    # Items of one thread share what a program computes once.
    lanes = max(power_of_2_to(2 * per_thread // (run * turns * together)), 1) if case.stride > 1 else 1
    items = case.batch * cdiv(pieces_of(case), run) * case.rows
    return run, min(32 * warps * together * max(lanes, per_thread // 16), power_of_2_from(items))


def pieces_of(case: Case) -> int:
    """Count what runs consist of in a row: outputs, or backward strips."""
    return cdiv(case.length + case.padding, case.stride) if case.is_backward else case.out_length


def length_of_run(per_thread: int, case: Case) -> int:
    """Return how many outputs or strips a thread takes if it is to hold about `per_thread` elements."""
    kernel_size, stride = case.kernel_size, case.stride
    if case.is_backward:
        run = per_thread
        if stride > 1:
            run = max(per_thread // (2 if case.itemsize < 4 else 4) // cdiv(stride, split_of(case)), 1)
    elif kernel_size <= min(stride, WIDEST_STRIP):
        run = 1  # windows share nothing, and what neighbours write lies together
    elif kernel_size // stride > WIDEST_STRIP:
        run = per_thread
    elif min(kernel_size, stride) > WIDEST_STRIP:
        run = 1 if kernel_size <= 2 * stride else max(per_thread // 8, 1)  # each more takes seconds to compile
    else:
        most = MOST_UNROLLED // max(case.itemsize // 4, 1)
        run = max(min(per_thread, (most - kernel_size) // stride + 1), 1)
    if case.itemsize == 8:
        run = min(run, 8)
    return cdiv(pieces_of(case), cdiv(pieces_of(case), run))


def together_of(run: int, case: Case) -> int:
    """Return how many channels a thread takes: as many as it can read in one access, and has registers for."""
    held = 2 * run if case.kernel_size // case.stride > WIDEST_STRIP else run + case.kernel_size // case.stride
    together = WIDEST_TOGETHER // case.itemsize
    while together > 1 and (
        case.rows % together > 0
        or case.alignment % (together * case.itemsize) > 0
        or held * together > MAX_COLUMNS_IN_REGISTERS
    ):
        together //= 2
    return together


def split_of(case: Case) -> int:
    """Return how many columns neighbours write at a time, backward, so that what they write lies together."""
    if case.kernel_size // case.stride > 4:
        return 1
    least = max(
        cdiv(LEAST_BYTES_TOGETHER * min(case.itemsize * together_of(1, case), 4), case.rows * case.itemsize),
        cdiv(case.stride, 16),
    )
    turns = cdiv(case.stride, min(least, case.stride, MOST_CHANNELS // case.rows + 1))
    return cdiv(case.stride, turns)


def columns_tiling(
    tile: Tile,
    case: Case,
    are_aligned: tuple[bool, bool],  # noqa: ARG001
    are_in_rows: bool,  # noqa: ARG001
) -> tuple[int, dict[str, object]]:
    """Return how many programs a batch entry needs, or all of them if SHORT, and the constants."""
    run, per_program = tile
    together = min(together_of(run, case), per_program)
    lanes, units, runs = per_program // together, case.rows // together, cdiv(pieces_of(case), run)
    split = split_of(case) if case.is_backward else 1
    constants: dict[str, object] = {"ALIGNED": together, "CHUNK": split}
    strip = min(case.kernel_size, case.stride)
    if not case.is_backward and strip > WIDEST_STRIP:
        programs = cdiv(units, CHANNELS_TOGETHER)
        split = lanes // cdiv(units, programs)
        if split > 1:
            return runs * programs, constants | {"CHUNK": split}
        split = 1
    items = runs * units * split
    is_short = case.batch > 1 and items < 16 * lanes
    is_short &= items * (items + lanes) < 2**31 and case.batch * items + lanes < 2**31
    if is_short:
        return cdiv(case.batch * items, lanes), constants | {"SHORT": True}
    return cdiv(items, lanes), constants


def columns_reach(tile: Tile, case: Case, strides: tuple[int, int, int], is_short: bool) -> int:
    """Return a bound of the elements between two of a tile, in a tensor with these strides."""
    run, per_program = tile
    runs = min(per_program, cdiv(pieces_of(case), run))
    columns = (runs + 1) * run * case.stride + case.kernel_size
    return columns * strides[2] + case.rows + (per_program * strides[0] if is_short else 0)
