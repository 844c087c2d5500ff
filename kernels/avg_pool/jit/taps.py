"""Average pooling by one load per tap, for any window and any strides: forward, and a backward that gathers.

Both write tiles of [ROWS_PER_PROG, BLOCK_OUT] elements, whose offsets fit into 32 bits unless WIDE. A tile whose
windows all lie inside the row takes the branch without masks and with one divisor. The others, at the ends of rows,
loop over their taps if these are more than few: unrolled, their masks would cost the whole kernel registers (160
instead of 94 on sm_89 at window 8) and, in float64, spills; but a loop waits for the loads of each tap.
"""

import triton
import triton.language as tl

from .tiles import blocks, divisor, inverse, place

FEW_TAPS = tl.constexpr(3)


@triton.jit
def _lanes(BLOCK_OUT: tl.constexpr, WIDE: tl.constexpr):
    """Return column numbers within a tile, [1, BLOCK_OUT], in the type that offsets within it need."""
    lanes = tl.arange(0, BLOCK_OUT)[None, :]
    if WIDE:
        lanes = lanes.to(tl.int64)
    return lanes


@triton.jit
def _sum(pointers, step, count, COUNT: tl.constexpr, UNROLL: tl.constexpr, ACC: tl.constexpr):
    """Sum `count` tiles without a mask, each `step` elements after the one before; if UNROLL, COUNT of them."""
    total = tl.zeros(pointers.shape, ACC)
    if UNROLL:
        for i in tl.static_range(COUNT):
            total += tl.load(pointers + i * step).to(ACC)
    else:
        for i in range(count):
            total += tl.load(pointers + i * step).to(ACC)
    return total


@triton.jit
def _masked(pointers, mask, ACC: tl.constexpr):
    """Load the tile at the pointers; what is outside the mask is 0, and not read."""
    return tl.load(pointers, mask=mask, other=0.0).to(ACC)


@triton.jit
def forward_by_taps(
    x,  # [batch, rows, length], with the strides below, in elements
    y,  # [batch, rows, out_length]
    rows,
    length,
    out_length,
    kernel_size,
    x_batch_stride,
    x_row_stride,
    x_col_stride,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    WINDOW: tl.constexpr,  # kernel_size if the taps are unrolled, 0 if they are looped over
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:kernel_size]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    UNROLL: tl.constexpr = WINDOW > 0
    taps = WINDOW if UNROLL else kernel_size
    batch, first_row, tile = place(rows, blocks(out_length, BLOCK_OUT), ROWS_PER_PROG)
    first = tile * BLOCK_OUT
    start = first * STRIDE - PADDING  # where the tile's first window starts; may lie left of the row
    row = tl.arange(0, ROWS_PER_PROG)[:, None].to(tl.int64)
    lane = _lanes(BLOCK_OUT, WIDE)
    left = lane * STRIDE  # where each window starts, counted from `start`
    step = tl.cast(x_col_stride, tl.int64)
    x_tile = x + batch * x_batch_stride + first_row * x_row_stride + start * x_col_stride
    y_tile = y + batch * y_batch_stride + first_row * y_row_stride + first * y_col_stride
    taps_at = x_tile + row * x_row_stride + left * x_col_stride
    y_at = y_tile + row * y_row_stride + lane * y_col_stride

    whole = (first + BLOCK_OUT <= out_length) & (first_row + ROWS_PER_PROG <= rows)
    if whole & (start >= 0) & (start + (BLOCK_OUT - 1) * STRIDE + taps <= length):
        mean = _sum(taps_at, step, kernel_size, WINDOW, UNROLL, ACC) * inverse(kernel_size, WINDOW, ACC)
        tl.store(y_at, mean.to(y.dtype.element_ty))
    else:
        # No window of the tile ends beyond its reach, so that bounds cut to it fit into the lanes' type.
        reach = tl.cast(taps, tl.int64) + BLOCK_OUT * STRIDE
        low = tl.maximum(-start, 0).to(lane.dtype)
        high = tl.minimum(length - start, reach).to(lane.dtype)
        padded_high = tl.minimum(length - start + PADDING, reach).to(lane.dtype)
        wanted = (row < rows - first_row) & (lane < tl.minimum(out_length - first, BLOCK_OUT).to(lane.dtype))
        total = tl.zeros((ROWS_PER_PROG, BLOCK_OUT), ACC)
        if UNROLL and WINDOW <= FEW_TAPS:
            for tap in tl.static_range(WINDOW):
                total += _masked(taps_at + tap * step, wanted & (left + tap >= low) & (left + tap < high), ACC)
        else:
            # Of a window that is far longer than the row, only the taps that some of the tile's have inside the row.
            for tap in range(tl.maximum(low - (BLOCK_OUT - 1) * STRIDE, 0), tl.minimum(high, taps)):
                total += _masked(taps_at + tap * step, wanted & (left + tap >= low) & (left + tap < high), ACC)
        mean = total / divisor(left, taps, low, high, padded_high, DIVISOR).to(ACC)
        tl.store(y_at, mean.to(y.dtype.element_ty), mask=wanted)


@triton.jit
def backward_by_taps(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements
    grad_x,  # [batch, rows, length]
    rows,
    length,
    out_length,
    kernel_size,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    x_batch_stride,
    x_row_stride,
    x_col_stride,
    WINDOW: tl.constexpr,  # kernel_size if the taps are unrolled, 0 if they are looped over
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i.

    The youngest of them is (i + PADDING) // STRIDE, and i lies `phase` into it; each older window holds i STRIDE
    further on. So kernel_size // STRIDE windows always hold i, and one more does if the phase is small enough.
    """
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    UNROLL: tl.constexpr = WINDOW > 0
    taps = WINDOW if UNROLL else kernel_size
    batch, first_row, tile = place(rows, blocks(length, BLOCK_OUT), ROWS_PER_PROG)
    first = tile * BLOCK_OUT
    youngest = (first + PADDING) // STRIDE  # of the tile's first column
    row = tl.arange(0, ROWS_PER_PROG)[:, None].to(tl.int64)
    lane = _lanes(BLOCK_OUT, WIDE)
    if STRIDE == 1:
        window = lane  # counted from `youngest`
        phase = lane * 0
    else:
        ahead = lane + ((first + PADDING) % STRIDE).to(lane.dtype)
        window = ahead // STRIDE
        phase = ahead % STRIDE
    step = -tl.cast(y_col_stride, tl.int64)
    y_tile = grad_y + batch * y_batch_stride + first_row * y_row_stride + youngest * y_col_stride
    x_tile = grad_x + batch * x_batch_stride + first_row * x_row_stride + first * x_col_stride
    windows_at = y_tile + row * y_row_stride + window * y_col_stride
    x_at = x_tile + row * x_row_stride + lane * x_col_stride

    oldest = youngest - (taps - 1) // STRIDE
    last = (first + PADDING + BLOCK_OUT - 1) // STRIDE
    whole = (first + BLOCK_OUT <= length) & (first_row + ROWS_PER_PROG <= rows)
    if whole & (oldest * STRIDE >= PADDING) & (last < out_length) & (last * STRIDE - PADDING + taps <= length):
        total = _sum(windows_at, step, kernel_size // STRIDE, WINDOW // STRIDE, UNROLL, ACC)
        if STRIDE > 1 and (WINDOW == 0 or WINDOW % STRIDE > 0):
            total += _masked(windows_at + (taps // STRIDE) * step, phase < taps % STRIDE, ACC)
        gradient = total * inverse(kernel_size, WINDOW, ACC)
        tl.store(x_at, gradient.to(grad_x.dtype.element_ty))
    else:
        # No window that holds a column of the tile ends beyond its reach, so that bounds cut to it fit as well.
        reach = tl.cast(taps, tl.int64) + BLOCK_OUT
        end = tl.minimum(length - first, reach).to(lane.dtype)
        padded_end = tl.minimum(length - first + PADDING, reach).to(lane.dtype)
        begin = tl.maximum(-first, -reach).to(lane.dtype)
        first_window = tl.maximum(-youngest, -reach).to(lane.dtype)
        end_window = tl.minimum(out_length - youngest, reach).to(lane.dtype)
        wanted = (row < rows - first_row) & (lane < end)
        total = tl.zeros((ROWS_PER_PROG, BLOCK_OUT), ACC)
        # Only as far back as some column of the tile has a window.
        most_back = (BLOCK_OUT - 1) // STRIDE + 1 - first_window
        for back in range(tl.maximum(1 - end_window, 0), tl.minimum(most_back, (taps - 1) // STRIDE) + 1):
            older = window - back
            start = lane - phase - back * STRIDE
            held = wanted & (older >= first_window) & (older < end_window) & (phase + back * STRIDE < taps)
            count = divisor(start, taps, begin, end, padded_end, DIVISOR)
            total += _masked(windows_at + back * step, held, ACC) / count.to(ACC)
        tl.store(x_at, total.to(grad_x.dtype.element_ty), mask=wanted)
