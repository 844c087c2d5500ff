"""Average pooling of short rows by one load per tap: the threads of a warp read neighbours, wherever rows end."""

import triton
import triton.language as tl

from .tiles import blocks, divisor, inverse


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
    # Divisions of 64 bits are branches: behind them all of a thread's loads are issued before its first sum. Divided by
    # 32 bits, as in `place_in_short_rows` and `in_short_rows`, they come in three rounds, and rows of 65 take longer.
    items = tl.cast(rows, tl.int64) * written_length
    programs = blocks(items, ALL)
    batch = tl.program_id(0) // programs
    first = tl.program_id(0) % programs * ALL
    first_row = first // written_length
    count = tl.minimum(items - first, ALL).to(tl.int32)
    item = (first - first_row * written_length).to(tl.int32) + tl.arange(0, ALL)
    reciprocal = (tl.cast(written_length, tl.int64) + 2147483647) // written_length
    row = tl.umulhi((item * 2).to(tl.uint32), reciprocal.to(tl.uint32)).to(tl.int32)
    column = item - row * tl.cast(written_length, tl.int32)
    held = tl.arange(0, ALL) < count
    sources = source + batch * source_batch_stride + first_row * source_row_stride
    targets = target + batch * target_batch_stride + first_row * target_row_stride
    if WIDE:
        read_at = row.to(tl.int64) * source_row_stride
        write_at = row.to(tl.int64) * target_row_stride + column
    else:
        read_at = row * tl.cast(source_row_stride, tl.int32)
        write_at = row * tl.cast(target_row_stride, tl.int32) + column
    lead = kernel_size - 1 - PADDING if BACKWARD else PADDING
    left = column * STRIDE - lead
    bounds = (tl.cast(read_length, tl.int32), tl.cast(length, tl.int32), PADDING)
    total = tl.zeros((ALL,), ACC)
    if WINDOW > 0:
        for tap in tl.static_range(WINDOW):
            total += _tap(sources, read_at, left + tap, held, bounds, kernel_size, SCALED, DIVISOR, ACC)
    else:
        # Of a window that is far longer than the row, only the taps that some window has inside the row.
        for tap in range(
            tl.maximum(lead - (written_length - 1) * STRIDE, 0), tl.minimum(kernel_size, read_length + lead)
        ):
            total += _tap(sources, read_at, left + tap, held, bounds, kernel_size, SCALED, DIVISOR, ACC)
    if DIVISOR == "window":
        total *= inverse(kernel_size, WINDOW, ACC)
    elif not SCALED:
        total /= divisor(left, kernel_size, 0, bounds[1], bounds[1] + PADDING, DIVISOR).to(ACC)
    tl.store(targets + write_at, total.to(target.dtype.element_ty), mask=held)


@triton.jit
def _tap(sources, read_at, column, held, bounds, kernel_size, SCALED: tl.constexpr, DIVISOR: tl.constexpr,
         ACC: tl.constexpr):  # fmt: skip
    """Load a column of each row, 0 outside the row; if SCALED, divide it as its window was.

    `bounds` are the length of a row that is read, that of a row of x, and the padding.
    """
    read_length, length, padding = bounds
    inside = held & (column.to(tl.uint32) < tl.cast(read_length, tl.uint32))  # a negative one is large
    value = tl.load(sources + (read_at + column), mask=inside, other=0.0).to(ACC)
    if SCALED:
        value /= divisor(column - padding, kernel_size, 0, length, length + padding, DIVISOR).to(ACC)
    return value
