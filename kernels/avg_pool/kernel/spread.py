"""The gradient of average pooling at strides of 2 and more by 16-byte accesses: `vectors.py`, the other way round.

A thread holds groups of as many windows as fill 16 bytes, and writes the STRIDE times as many elements of x that lie
under them. Where a window begins in its group is known when the kernel is compiled, so that nothing is divided.
"""

import triton
import triton.language as tl

from tunedb.kernels.avg_pool.kernel.registers import columns_of, tile_of
from tunedb.kernels.avg_pool.kernel.tiles import blocks, divisor, inverse, place


@triton.jit
def spread(
    grad_y,  # [batch, rows, out_length], by the strides below; columns lie side by side
    grad_x,  # [batch, rows, length]
    rows,
    length,
    out_length,
    y_batch_stride,
    y_row_stride,
    x_batch_stride,
    x_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALIGNED: tl.constexpr,  # rows of both begin at multiples of 16 bytes
    BLOCK_OUT: tl.constexpr,  # windows: a tile has STRIDE times as many columns of grad_x
    ROWS_PER_PROG: tl.constexpr,
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // grad_y.dtype.element_ty.primitive_bitwidth
    GROUPS: tl.constexpr = BLOCK_OUT // WIDTH
    OLDEST: tl.constexpr = -((WINDOW - 1 - PADDING) // STRIDE)  # window of a group's first column, from its first
    YOUNGEST: tl.constexpr = (WIDTH * STRIDE - 1 + PADDING) // STRIDE
    batch, first_row, tile = place(rows, blocks(length, BLOCK_OUT * STRIDE), ROWS_PER_PROG, 1)
    first = tile * BLOCK_OUT  # window
    start = first * STRIDE  # column
    y_row = grad_y + batch * y_batch_stride + first_row * y_row_stride + first
    x_row = grad_x + batch * x_batch_stride + first_row * x_row_stride + start
    index = tl.arange(0, ROWS_PER_PROG * GROUPS)
    group = index % GROUPS if ROWS_PER_PROG > 1 else index
    read_at = group * WIDTH
    write_at = group * (WIDTH * STRIDE)
    row = tl.zeros((ROWS_PER_PROG * GROUPS,), tl.int32)
    if ROWS_PER_PROG > 1:
        row = index // GROUPS
        read_at = row.to(tl.int64) * y_row_stride + read_at
        write_at = row.to(tl.int64) * x_row_stride + write_at
        if ALIGNED:
            read_at = tl.multiple_of(read_at, WIDTH)
            write_at = tl.multiple_of(write_at, WIDTH)
    lane = tl.arange(0, WIDTH)[None, :]

    last = first + BLOCK_OUT - WIDTH + YOUNGEST
    inside = (start + BLOCK_OUT * STRIDE <= length) & (first_row + ROWS_PER_PROG <= rows)
    inside &= (first + OLDEST >= 0) & (last < out_length)
    inside &= ((first + OLDEST) * STRIDE >= PADDING) & (last * STRIDE - PADDING + WINDOW <= length)
    if inside:
        windows = ()
        if ALIGNED:
            SHIFT: tl.constexpr = OLDEST % WIDTH
            sources = tl.multiple_of(y_row + (OLDEST - SHIFT), 16) + read_at[:, None] + lane
            pieces = ()
            for piece in tl.static_range((SHIFT + YOUNGEST - OLDEST) // WIDTH + 1):
                pieces = pieces + columns_of(tl.load(sources + piece * WIDTH))
            for window in tl.static_range(YOUNGEST - OLDEST + 1):
                windows = windows + (_scaled(pieces[SHIFT + window], WINDOW, ACC),)
        else:
            for window in tl.static_range(YOUNGEST - OLDEST + 1):
                column = tl.load(y_row + (read_at + (OLDEST + window)))
                windows = windows + (_scaled(column, WINDOW, ACC),)
        columns = _columns_under(windows, OLDEST, WIDTH * STRIDE, WINDOW, STRIDE, PADDING, grad_x.dtype.element_ty)
        for piece in tl.static_range(STRIDE):
            targets = x_row + piece * WIDTH
            if ALIGNED:
                targets = tl.multiple_of(targets, 16)
            part = ()
            for column in tl.static_range(WIDTH):
                part = part + (columns[piece * WIDTH + column],)
            tl.store(targets + write_at[:, None] + lane, tile_of(part))
    else:
        # No window that holds a column of the tile ends beyond its reach, so that bounds cut to it fit into 32 bits.
        REACH: tl.constexpr = BLOCK_OUT * STRIDE + 2 * WINDOW
        end = tl.minimum(length - start, REACH).to(tl.int32)
        padded_end = tl.minimum(length + PADDING - start, REACH).to(tl.int32)
        begin = tl.maximum(-start, -REACH).to(tl.int32)
        first_window = tl.maximum(-first, -REACH).to(tl.int32)
        end_window = tl.minimum(tl.maximum(out_length - first, -REACH), REACH).to(tl.int32)
        is_row = row < tl.minimum(rows - first_row, ROWS_PER_PROG).to(tl.int32)
        windows = ()
        for window in tl.static_range(YOUNGEST - OLDEST + 1):
            at = group * WIDTH + (OLDEST + window)
            held = is_row & (at >= first_window) & (at < end_window)
            value = tl.load(y_row + (read_at + (OLDEST + window)), mask=held, other=0.0).to(ACC)
            count = divisor(at * STRIDE - PADDING, WINDOW, begin, end, padded_end, DIVISOR)
            windows = windows + (value / count.to(ACC),)
        columns = _columns_under(windows, OLDEST, WIDTH * STRIDE, WINDOW, STRIDE, PADDING, grad_x.dtype.element_ty)
        for piece in tl.static_range(STRIDE):
            part = ()
            for column in tl.static_range(WIDTH):
                part = part + (columns[piece * WIDTH + column],)
            at = group[:, None] * (WIDTH * STRIDE) + (lane + piece * WIDTH)
            wanted = is_row[:, None] & (at < end)
            tl.store(x_row + piece * WIDTH + (write_at[:, None] + lane), tile_of(part), mask=wanted)


@triton.jit
def _scaled(value, WINDOW: tl.constexpr, ACC: tl.constexpr):
    return value.to(ACC) * inverse(WINDOW, WINDOW, ACC)


@triton.jit
def _held_by(windows, OLDEST: tl.constexpr, YOUNGEST: tl.constexpr, dtype: tl.constexpr):
    """The sum of the windows from OLDEST to YOUNGEST; 0 where there are none, in a gap."""
    if YOUNGEST < OLDEST:
        return tl.zeros(windows[0].shape, dtype)
    else:
        total = windows[OLDEST]
        for window in tl.static_range(OLDEST + 1, YOUNGEST + 1):
            total += windows[window]
        return total.to(dtype)


@triton.jit
def _columns_under(windows, OLDEST: tl.constexpr, COUNT: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
                   PADDING: tl.constexpr, dtype: tl.constexpr):  # fmt: skip
    """For each of a group's COUNT columns of x, the sum of the windows that hold it; `windows` begin with OLDEST."""
    columns = ()
    for column in tl.static_range(COUNT):
        columns = columns + (
            _held_by(
                windows,
                -((WINDOW - 1 - PADDING - column) // STRIDE) - OLDEST,
                (column + PADDING) // STRIDE - OLDEST,
                dtype,
            ),
        )
    return columns
