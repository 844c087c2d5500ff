"""Pooling of rows whose columns do not lie next to each other, into rows whose columns do.

Neighbouring lanes read neighbouring columns, wherever these lie, so that a line of memory is read at once. A tile
[groups, BLOCK_OUT] then goes through shared memory, once, so that a thread owns all columns of its group and sums its
windows in registers. A group is BLOCK_OUT outputs; what its windows hold beyond its own columns is read again.
"""

import triton
import triton.language as tl

from .registers import columns_of, tile_of, window_sums
from .tiles import blocks, divisor, in_short_rows, inverse, place, place_in_short_rows

FARTHEST = tl.constexpr(1 << 30)  # no tile has as many columns


@triton.jit
def pool_spaced(
    source,  # [batch, rows, read_length], with the strides below, in elements
    target,  # [batch, rows, written_length]; its columns lie next to each other
    rows,
    read_length,
    written_length,
    length,  # of a row of x: read_length forward, written_length backward
    source_batch_stride,
    source_row_stride,
    source_col_stride,
    target_batch_stride,
    target_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,  # at stride 1 only, where the windows that hold an element form a window too
    ALIGNED: tl.constexpr,  # groups of the target begin at multiples of 16 bytes
    SHORT: tl.constexpr,  # groups are numbered through the rows of a batch entry
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    BLOCK_OUT: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """target[b, r, o] = the mean of source[b, r, o * STRIDE - PADDING :][:WINDOW], or at stride 1 its gradient."""
    ACC: tl.constexpr = tl.float64 if source.dtype.element_ty == tl.float64 else tl.float32
    OFFSET: tl.constexpr = tl.int64 if WIDE else tl.int32
    LEFT: tl.constexpr = WINDOW - 1 - PADDING if BACKWARD else PADDING
    SCALED: tl.constexpr = BACKWARD and DIVISOR != "window"
    SPAN: tl.constexpr = (BLOCK_OUT - 1) * STRIDE + WINDOW
    per_row = blocks(written_length, BLOCK_OUT)
    index = tl.arange(0, GROUPS)
    if SHORT:
        batch, first_row, first_group, count = place_in_short_rows(rows, per_row, GROUPS)
        row, group = in_short_rows(first_group + index, per_row)
        first = first_row * 0
        held = index < count
    else:
        batch, first_row, tile = place(rows, blocks(per_row, GROUPS), 1)
        first = tile * (GROUPS * BLOCK_OUT)
        row = index * 0
        group = index
        held = index < tl.minimum(per_row - tile * GROUPS, GROUPS).to(tl.int32)
    start = first * STRIDE - LEFT
    step = tl.cast(source_col_stride, tl.int64)
    sources = source + batch * source_batch_stride + first_row * source_row_stride + start * step
    read_at = (group * (BLOCK_OUT * STRIDE)).to(OFFSET) * tl.cast(source_col_stride, OFFSET)
    write_at = (group * BLOCK_OUT).to(OFFSET)
    if SHORT:
        read_at += row.to(OFFSET) * tl.cast(source_row_stride, OFFSET)
        write_at += row.to(OFFSET) * tl.cast(target_row_stride, OFFSET)
    offset = batch * target_batch_stride + first_row * target_row_stride + first
    if ALIGNED:
        write_at = tl.multiple_of(write_at, 16)
        offset = tl.multiple_of(offset, 16)
    lane = tl.arange(0, BLOCK_OUT)[None, :]
    targets = target + offset + (write_at[:, None] + lane)

    low = tl.minimum(tl.maximum(-start, -FARTHEST), FARTHEST).to(tl.int32)
    high = tl.minimum(read_length - start, FARTHEST).to(tl.int32)
    end = tl.minimum(length - start, FARTHEST).to(tl.int32)
    padded_end = tl.minimum(length - start + PADDING, FARTHEST).to(tl.int32)
    left = group * (BLOCK_OUT * STRIDE)
    at = (sources, read_at, step, left, held)
    bounds = (low, high, end, padded_end)
    if SHORT:
        inside = tl.cast(written_length - 1, tl.int64) * STRIDE + WINDOW - LEFT <= read_length
        inside &= (count == GROUPS) & (written_length % BLOCK_OUT == 0) & (LEFT <= 0)
    else:
        inside = (start >= 0) & (first + GROUPS * BLOCK_OUT <= written_length)
        inside &= start + (GROUPS - 1) * BLOCK_OUT * STRIDE + SPAN <= read_length
    if SCALED:  # no window that is read is cut by an end of the row
        inside &= (start >= PADDING) & (start + (GROUPS * BLOCK_OUT - 2) + 2 * WINDOW - PADDING <= length)
    if inside:
        HOW: tl.constexpr = (False, False, BLOCK_OUT, SPAN, ACC, WINDOW, PADDING, DIVISOR)
        sums = window_sums(_span(at, bounds, HOW), BLOCK_OUT, STRIDE, WINDOW)
        means = ()
        for output in tl.static_range(BLOCK_OUT):
            means = means + ((sums[output] * inverse(WINDOW, WINDOW, ACC)).to(target.dtype.element_ty),)
        tl.store(targets, tile_of(means))
    else:
        MASKED: tl.constexpr = (True, SCALED, BLOCK_OUT, SPAN, ACC, WINDOW, PADDING, DIVISOR)
        sums = window_sums(_span(at, bounds, MASKED), BLOCK_OUT, STRIDE, WINDOW)
        means = ()
        for output in tl.static_range(BLOCK_OUT):
            mean = sums[output]
            if DIVISOR == "window":
                mean *= inverse(WINDOW, WINDOW, ACC)
            elif not SCALED:
                mean *= 1.0 / divisor(left + output * STRIDE, WINDOW, low, end, padded_end, DIVISOR).to(ACC)
            means = means + (mean.to(target.dtype.element_ty),)
        room = tl.minimum(written_length - first, FARTHEST).to(tl.int32) - group * BLOCK_OUT
        tl.store(targets, tile_of(means), mask=held[:, None] & (lane < room[:, None]))


@triton.jit
def _span(at, bounds, HOW: tl.constexpr):
    """Return the columns under a group's windows as a tuple, in the accumulator's precision.

    HOW says whether columns may lie outside their row, whether each is divided as its window was, BLOCK_OUT, how many
    columns these are, the accumulator's dtype, and what `tiles.divisor` needs.
    """
    WIDTH: tl.constexpr = HOW[2]
    SPAN: tl.constexpr = HOW[3]
    columns = ()
    for piece in tl.static_range((SPAN + WIDTH - 1) // WIDTH):
        columns = columns + _piece(at, bounds, piece * WIDTH, min(SPAN - piece * WIDTH, WIDTH), HOW)
    return columns


@triton.jit
def _piece(at, bounds, AHEAD: tl.constexpr, COUNT: tl.constexpr, HOW: tl.constexpr):
    """Return COUNT columns of each group, from AHEAD on, as a tuple."""
    sources, read_at, step, left, held = at
    WIDTH: tl.constexpr = triton.next_power_of_2(COUNT)
    ahead = AHEAD + tl.arange(0, WIDTH)[None, :]
    # The offset of a column has the type of the group's.
    offsets = read_at[:, None] + ahead.to(read_at.dtype) * step.to(read_at.dtype)
    if HOW[0]:
        low, high, end, padded_end = bounds
        column = left[:, None] + ahead
        inside = held[:, None] & (column >= low) & (column < high)
        tile = tl.load(sources + offsets, mask=inside, other=0.0)
        if HOW[1]:
            count = divisor(column - HOW[6], HOW[5], low, end, padded_end, HOW[7])
            tile = tile.to(HOW[4]) / count.to(HOW[4])
    elif COUNT < WIDTH:
        tile = tl.load(sources + offsets, mask=ahead < AHEAD + COUNT, other=0.0)
    else:
        tile = tl.load(sources + offsets)
    pieces = columns_of(tile)
    columns = ()
    for column in tl.static_range(COUNT):
        columns = columns + (pieces[column].to(HOW[4]),)
    return columns
