"""Average pooling by one sum per window: wide windows that hardly overlap, over rows whose neighbours lie side by side.

Threads that read side by side share a window, and add up what each of them has read of it at its end.
"""

import triton
import triton.language as tl

from tunedb.kernels.avg_pool.kernel.tiles import blocks, divisor, place


@triton.jit
def forward_by_sums(
    x,  # [batch, rows, length], by the strides below; columns lie side by side
    y,  # [batch, rows, out_length]
    rows,
    length,
    out_length,
    x_batch_stride,
    x_row_stride,
    y_batch_stride,
    y_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALIGNED: tl.constexpr,  # windows begin at multiples of 16 bytes
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # columns of a window that are read at a time
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:WINDOW]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    batch, first_row, tile = place(rows, blocks(out_length, BLOCK_OUT), ROWS_PER_PROG, 1)
    first = tile * BLOCK_OUT
    start = first * STRIDE - PADDING
    index = tl.arange(0, ROWS_PER_PROG * BLOCK_OUT)
    window = index % BLOCK_OUT
    row = index // BLOCK_OUT
    read_at = window.to(tl.int64) * STRIDE
    write_at = window.to(tl.int64)
    if ROWS_PER_PROG > 1:
        read_at += row.to(tl.int64) * x_row_stride
        write_at += row.to(tl.int64) * y_row_stride
    begin = x + batch * x_batch_stride + first_row * x_row_stride + start
    if ALIGNED:
        begin = tl.multiple_of(begin, 16)
        read_at = tl.multiple_of(read_at, WIDTH)
    lane = tl.arange(0, CHUNK)[None, :]
    sources = begin + read_at[:, None] + lane
    targets = y + batch * y_batch_stride + first_row * y_row_stride + first + write_at

    total = tl.zeros((ROWS_PER_PROG * BLOCK_OUT, CHUNK), ACC)
    whole = (first + BLOCK_OUT <= out_length) & (first_row + ROWS_PER_PROG <= rows)
    if whole & (start >= 0) & (start + (BLOCK_OUT - 1) * STRIDE + WINDOW <= length):
        for chunk in range(0, WINDOW - CHUNK + 1, CHUNK):
            total += tl.load(sources + chunk).to(ACC)
        REST: tl.constexpr = WINDOW - WINDOW // CHUNK * CHUNK
        if REST > 0:
            total += tl.load(sources + (WINDOW - REST), mask=lane < REST, other=0.0).to(ACC)
        tl.store(targets, (tl.sum(total, axis=1) * tl.full((), 1.0 / WINDOW, ACC)).to(y.dtype.element_ty))
    else:
        held = (row < rows - first_row) & (window < out_length - first)
        left = start + window.to(tl.int64) * STRIDE  # column of x
        for chunk in range(0, WINDOW, CHUNK):
            column = left[:, None] + (lane + chunk)
            inside = held[:, None] & (lane + chunk < WINDOW) & (column >= 0) & (column < length)
            total += tl.load(sources + chunk, mask=inside, other=0.0).to(ACC)
        count = divisor(left, WINDOW, 0, length, length + PADDING, DIVISOR)
        tl.store(targets, (tl.sum(total, axis=1) / count.to(ACC)).to(y.dtype.element_ty), mask=held)
