"""The place of a program and the divisors of windows, which all algorithms share.

All programs are on one grid axis (the second and third end at 65,535); neighbouring programs have neighbouring column
tiles. A tile is addressed from a 64-bit scalar base, so that offsets within it may be 32-bit.
"""

import triton
import triton.language as tl

# The eviction policy of loads of what no other program needs, or few: it leaves the L2 to what others wrote or will
# read. Modified lines that stay there need not be written to memory while this is read.
READ_ONCE = tl.constexpr("evict_first")


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
    batch = block * 0
    if block >= row_blocks:  # a division costs as much as several elements
        batch = block // row_blocks
    row_block = block - batch * row_blocks
    return batch.to(tl.int64), row_block.to(tl.int64) * ROWS_PER_PROG, (program - block * tiles).to(tl.int64)


@triton.jit
def place_in_short_rows(rows, per_row, COUNT: tl.constexpr):
    """Return this program's batch entry, first row, first item in that row and count of items, as scalars.

    A row has `per_row` items, and a program takes the next COUNT items wherever rows end: a tile with a power of two
    of items for each row could be half empty.
    """
    items = tl.cast(rows, tl.int64) * per_row
    programs = blocks(items, COUNT)
    program = tl.program_id(0).to(tl.int64)
    batch = program * 0
    if program >= programs:  # a division of 64 bits costs as much as several elements
        batch = program // programs
        program -= batch * programs
    first = program * COUNT
    if items < 2147483648:
        first_row = (first.to(tl.uint32) // tl.cast(per_row, tl.uint32)).to(tl.int64)
    else:
        first_row = first // per_row
    return batch, first_row, (first - first_row * per_row).to(tl.int32), tl.minimum(items - first, COUNT).to(tl.int32)


@triton.jit
def in_short_rows(item, per_row):
    """Return the rows of items that are counted from the start of a row, and their places in them, as int32."""
    per_row = tl.cast(per_row, tl.int32)
    # A product instead of a division; exact, because an item's number times per_row stays below 2^31.
    reciprocal = (per_row.to(tl.uint32) + 2147483647) // per_row.to(tl.uint32)
    row = tl.umulhi((item * 2).to(tl.uint32), reciprocal).to(tl.int32)
    return row, item - row * per_row


@triton.jit
def divided(dividend, divided_by, reciprocal):
    """Divide uint32 by a scalar; return quotient and rest. `reciprocal` is (2^32 - 1) // divided_by.

    The quotient of a product is the right one or 1 less, so that one more subtraction replaces a division of each.
    """
    quotient = tl.umulhi(dividend, reciprocal)
    rest = dividend - quotient * divided_by
    is_less = rest >= divided_by
    return quotient + is_less.to(tl.uint32), rest - tl.where(is_less, divided_by, 0)


@triton.jit
def place_in_array(target, rows, length, batch_stride, ALIGNED: tl.constexpr, SHORT: tl.constexpr, WIDE: tl.constexpr,
                   BLOCK: tl.constexpr):  # fmt: skip
    """Return this program's place if a batch entry's rows are one array, which its tiles cut wherever rows end.

    Tiles begin where stores are aligned: if the array is not ALIGNED, the first one begins before it, in a row -1.
    Returns the entry's address, the batch entry (int64), the row (int32 or int64), the column in it (unsigned), the
    place of the tile in the array and the array's end, all scalars. A row must be at least as long as a group. If not
    WIDE, there is one entry, and its elements and the tile's are fewer than 2^31: divisions and products of 64 bits
    cost as much as several elements of each thread.
    """
    SIZE: tl.constexpr = target.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    tile = tl.program_id(0)
    if not WIDE:
        end = tl.cast(rows, tl.int32) * length
        batch = 0
        entry = target
        first = tile * BLOCK
    else:
        end = tl.cast(rows, tl.int64) * length
        tiles = blocks(end if ALIGNED else end + (WIDTH - 1), BLOCK).to(tl.int32)
        batch = (tile // tiles).to(tl.int64)
        entry = target + batch * batch_stride
        first = (tile % tiles).to(tl.int64) * BLOCK
    if ALIGNED:
        entry = tl.multiple_of(entry, 16)
    else:
        first -= ((entry.to(tl.int64) // SIZE) & (WIDTH - 1)).to(first.dtype)
    before = 0 if ALIGNED else length  # the length of row -1, in which the first tile may begin
    if not WIDE:
        span = tl.cast(length, tl.uint32)
        if SHORT:  # the reciprocal, a division, serves `in_rows` too
            row, _ = divided((first + before).to(tl.uint32), span, tl.full((), 4294967295, tl.uint32) // span)
        else:
            row = (first + before).to(tl.uint32) // span
        row = row.to(tl.int32) if ALIGNED else row.to(tl.int32) - 1
    elif ALIGNED:
        row = first // length
    else:
        row = (first + length) // length - 1
    column = (first - row * length).to(tl.uint64 if length.dtype == tl.int64 else tl.uint32)
    return entry, batch, row, column, first, end


@triton.jit
def in_rows(place, length, SHORT: tl.constexpr, BLOCK: tl.constexpr):
    """Return the rows of places that are counted from the start of a row, int32, and their columns."""
    if not SHORT:
        is_next = place >= length
        return is_next.to(tl.int32), tl.where(is_next, place - length, place)
    elif BLOCK <= 32768:
        # A product instead of a division; exact, because a place times the length, below 2 * BLOCK**2, is below 2^32.
        ahead = tl.umulhi(place, tl.full((), 4294967295, tl.uint32) // length + 1)
        return ahead.to(tl.int32), place - ahead * length
    else:
        ahead = place // length
        return ahead.to(tl.int32), place - ahead * length


@triton.jit
def offset_in_rows(ahead, column, row_stride, step, SHORT: tl.constexpr, WIDE: tl.constexpr):
    """Return the offsets of columns that lie `step` apart, so many rows `ahead` of where a tile begins."""
    if SHORT and not WIDE:  # then offsets in a tile fit into 32 bits
        return ahead * row_stride + column.to(tl.int32) * step
    elif SHORT:
        return ahead.to(tl.int64) * row_stride + column.to(tl.int64) * step
    else:
        return tl.where(ahead > 0, tl.cast(row_stride, tl.int64), 0) + column.to(tl.int64) * step


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


@triton.jit
def reciprocal(count, ACC: tl.constexpr):
    """Return 1 / count of integers. Of 0 it is a number: a window without elements does not exist, and counts as 0.

    A GPU computes that of float32 as 1 / sqrt(count^2), which is exact to 2^-22.9, as a division is, but one
    instruction: a division takes care of numbers near 2^127. Two of Newton's steps make it exact in float64.
    """
    single = count.to(tl.float32)
    found = tl.rsqrt(single * single + 1e-30).to(ACC)
    if ACC.primitive_bitwidth == 64:
        number = count.to(ACC)
        found = tl.fma(found, tl.fma(-number, found, 1.0), found)
        found = tl.fma(found, tl.fma(-number, found, 1.0), found)
    return found


@triton.jit
def factors(first, COUNT: tl.constexpr, length, out_length, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
            PADDING: tl.constexpr, DIVISOR: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Return 1 / what COUNT windows, from the window `first` on, are divided by, as a tuple.

    The length is unsigned, and so is the window: one before a row's first is a large number.
    """
    SIGNED: tl.constexpr = tl.int64 if length.dtype == tl.uint64 else tl.int32
    whole = inverse(WINDOW, WINDOW, ACC)
    found = ()
    if DIVISOR == "window":
        for _ in tl.static_range(COUNT):
            found = found + (whole,)
    elif DIVISOR == "padded":  # no window but the last may be cut
        last = tl.cast(out_length, length.dtype) - 1
        count = tl.minimum(length + 2 * PADDING - last * STRIDE, WINDOW)
        factor = reciprocal(count.to(tl.int32), ACC)
        for window in tl.static_range(COUNT):
            found = found + (tl.where(first + window == last, factor, whole),)
    else:
        start = (first * STRIDE).to(SIGNED)
        most = tl.minimum(length, WINDOW).to(SIGNED)
        from_left, from_right = start + (WINDOW - PADDING), (length + PADDING).to(SIGNED) - start
        for window in tl.static_range(COUNT):
            count = tl.minimum(tl.minimum(from_left + window * STRIDE, most), from_right - window * STRIDE)
            found = found + (reciprocal(count.to(tl.int32), ACC),)
    return found
