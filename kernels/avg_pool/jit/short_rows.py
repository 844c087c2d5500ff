"""Average pooling of short rows by one load per tap: the threads of a warp read neighbours, wherever rows end."""

import triton
import triton.language as tl

from .tiles import divisor, in_short_rows, inverse, place_in_short_rows, reciprocal

TAPS_OF_TURN = tl.constexpr(8)


@triton.jit
def pool_short_rows(
    source,  # [batch, rows, read_length], with the strides below, in elements; that of columns is 1
    target,  # [batch, rows, written_length]
    rows,
    read_length,
    written_length,
    length,  # of a row of x: read_length forward, written_length backward
    kernel_size,
    source_batch_stride,
    source_row_stride,
    target_batch_stride,
    target_row_stride,
    WINDOW: tl.constexpr,  # kernel_size if the taps are unrolled, 0 if they are looped over
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    BACKWARD: tl.constexpr,  # at stride 1 only, where the windows that hold an element form a window too
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """target[b, r, o] = the mean of source[b, r, o * STRIDE - PADDING :][:kernel_size], or at stride 1 its gradient."""
    ACC: tl.constexpr = tl.float64 if source.dtype.element_ty == tl.float64 else tl.float32
    ALL: tl.constexpr = BLOCK_OUT * ROWS_PER_PROG
    SCALED: tl.constexpr = BACKWARD and DIVISOR != "window"
    batch, first_row, first_column, count = place_in_short_rows(rows, written_length, ALL)
    item = tl.arange(0, ALL)
    # What is not written is computed too, as the tile's last output: masks are for row ends only.
    row, column = in_short_rows(first_column + tl.minimum(item, count - 1), written_length)
    sources = source + batch * source_batch_stride + first_row * source_row_stride
    targets = target + batch * target_batch_stride + first_row * target_row_stride
    lead = kernel_size - 1 - PADDING if BACKWARD else PADDING
    left = column * STRIDE - lead
    if WIDE:
        sources += row.to(tl.int64) * source_row_stride + left
        targets += row.to(tl.int64) * target_row_stride + column
    else:
        sources += row * tl.cast(source_row_stride, tl.int32) + left
        targets += row * tl.cast(target_row_stride, tl.int32) + column
    bounds = (tl.cast(read_length, tl.int32), tl.cast(length, tl.int32), PADDING)
    total = tl.zeros((ALL,), ACC)
    if WINDOW > 0:  # by several taps: loads of all would need too many registers
        IN_TURNS: tl.constexpr = WINDOW // TAPS_OF_TURN * TAPS_OF_TURN
        for first in tl.range(0, IN_TURNS, TAPS_OF_TURN):
            for tap in tl.static_range(TAPS_OF_TURN):
                total += _tap(sources + first + tap, left + first + tap, bounds, kernel_size, SCALED, DIVISOR, ACC)
        for tap in tl.static_range(IN_TURNS, WINDOW):
            total += _tap(sources + tap, left + tap, bounds, kernel_size, SCALED, DIVISOR, ACC)
    else:
        # Of a window that is far longer than the row, only the taps that some window has inside the row.
        for tap in range(
            tl.maximum(lead - (written_length - 1) * STRIDE, 0), tl.minimum(kernel_size, read_length + lead)
        ):
            total += _tap(sources + tap, left + tap, bounds, kernel_size, SCALED, DIVISOR, ACC)
    if DIVISOR == "window":
        total *= inverse(kernel_size, WINDOW, ACC)
    elif not SCALED:
        total *= reciprocal(divisor(left, kernel_size, 0, bounds[1], bounds[1] + PADDING, DIVISOR), ACC)
    tl.store(targets, total.to(target.dtype.element_ty), mask=item < count)


@triton.jit
def _tap(pointers, column, bounds, kernel_size, SCALED: tl.constexpr, DIVISOR: tl.constexpr, ACC: tl.constexpr):
    """Load a column of each row, 0 outside the row; if SCALED, divide it as its window was.

    `bounds` are the length of a row that is read, that of a row of x, and the padding.
    """
    read_length, length, padding = bounds
    inside = column.to(tl.uint32) < read_length.to(tl.uint32)  # a negative one is large
    value = tl.load(pointers, mask=inside, other=0.0).to(ACC)
    if SCALED:
        value *= reciprocal(divisor(column - padding, kernel_size, 0, length, length + padding, DIVISOR), ACC)
    return value
