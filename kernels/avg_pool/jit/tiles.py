"""The place of a program and the divisors of windows, which all algorithms share.

All programs are on one grid axis (the second and third end at 65,535); neighbouring programs have neighbouring column
tiles. A tile is addressed from a 64-bit scalar base, so that offsets within it may be 32-bit.
"""

import triton
import triton.language as tl


@triton.jit
def blocks(extent, BLOCK: tl.constexpr):
    """Count the blocks that hold `extent` elements, 1 or more. `tl.cdiv` overflows close to 2^31."""
    return (extent - 1) // BLOCK + 1


@triton.jit
def place(rows, tiles, ROWS_PER_PROG: tl.constexpr):
    """Return this program's batch entry, first row and column tile, as int64 scalars, if rows are longer than tiles."""
    program = tl.program_id(0)
    block = program // tiles
    row_blocks = blocks(rows, ROWS_PER_PROG)
    batch = (block // row_blocks).to(tl.int64)
    first_row = (block % row_blocks).to(tl.int64) * ROWS_PER_PROG
    return batch, first_row, (program % tiles).to(tl.int64)


@triton.jit
def place_in_short_rows(rows, per_row, COUNT: tl.constexpr):
    """Return this program's batch entry, first row, first item in that row and count of items, as scalars.

    A row has `per_row` items, and a program takes the next COUNT items wherever rows end: a tile with a power of two
    of items for each row could be half empty.
    """
    items = tl.cast(rows, tl.int64) * per_row
    programs = blocks(items, COUNT)
    program = tl.program_id(0)
    batch = program // programs
    first = program % programs * COUNT
    first_row = first // per_row
    return batch, first_row, (first - first_row * per_row).to(tl.int32), tl.minimum(items - first, COUNT).to(tl.int32)


@triton.jit
def in_short_rows(item, per_row):
    """Return the rows of items that are counted from the start of a row, and their places in them, as int32."""
    per_row = tl.cast(per_row, tl.int32)
    # A product instead of a division; exact, because an item's number times per_row stays below 2^31.
    reciprocal = (2147483647 + per_row.to(tl.int64)) // per_row
    row = tl.umulhi((item * 2).to(tl.uint32), reciprocal.to(tl.uint32)).to(tl.int32)
    return row, item - row * per_row


@triton.jit
def inverse(kernel_size, WINDOW: tl.constexpr, ACC: tl.constexpr):
    """Return 1 / kernel_size in the accumulator's precision; a constant if WINDOW is not 0."""
    return tl.full((), 1.0 / WINDOW, ACC) if WINDOW > 0 else 1.0 / kernel_size.to(ACC)


@triton.jit
def divisor(start, taps, low, high, padded_high, DIVISOR: tl.constexpr):
    """Return the number of elements that the windows that start at `start` are divided by, at least 1.

    The row lies from `low` to `high`, its right padding ends at `padded_high`. DIVISOR is "window" if the number is
    `taps` for every window, "padded" if windows end with the padding, "row" if padding does not count.
    """
    if DIVISOR == "window":
        count = start * 0 + taps
    elif DIVISOR == "padded":
        count = tl.minimum(start + taps, padded_high) - start
    else:
        count = tl.minimum(start + taps, high) - tl.maximum(start, low)
    return tl.maximum(count, 1)
