"""Average pooling of rows that fit a tile, whose windows see most of them: each row is read once, as a whole.

There are three kinds. If every window covers the whole row, one sum serves all outputs of the row; backward, one sum
all columns. If windows are few, each is summed or spread on its own, by a selection for each element. Else windows are
at least as long as the row, so that each covers its beginning or its end: outputs are picked by `tl.gather` from sums
from both ends, and backward the gradients of the windows that hold a column are the first or the last ones.

It is chosen for rows of up to 1024 columns. An element costs five to nine instructions; of sums from both ends about a
hundred, which few problems need. In half precision rows are read, and gradients of covering windows written, by aligned
pieces of 16 bytes.
"""

import triton
import triton.language as tl

from .registers import over_threads
from .tiles import READ_ONCE, blocks, divisor, in_short_rows, inverse

MOST_WINDOWS = tl.constexpr(4)  # that are summed one by one


@triton.jit
def forward_by_rows(
    x,  # [batch, rows, length], with the strides below, in elements
    y,  # [batch, rows, out_length]; the stride of its columns is 1
    rows,
    length,
    out_length,
    x_batch_stride,
    x_row_stride,
    x_col_stride,
    y_batch_stride,
    y_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALL: tl.constexpr,  # every window covers the whole row
    PIECES: tl.constexpr,  # a row is read by aligned pieces of 16 bytes
    CHUNKS: tl.constexpr,  # how often to read a row; 0 if sums run from both ends. Unless ALL, windows are few
    BLOCK_OUT: tl.constexpr,  # at least out_length
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # columns that are read at a time
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:WINDOW]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    batch, first_row, row, held = _place_of_rows(rows, ROWS_PER_PROG)
    lane = tl.arange(0, CHUNK)[None, :]
    step = tl.cast(x_col_stride, tl.int64)
    sources = x + batch * x_batch_stride + first_row * x_row_stride
    # Rows beyond the last are read as the last, which needs no mask.
    read = tl.minimum(row, (rows - first_row).to(tl.int32) - 1).to(tl.int64)
    sources += read * x_row_stride
    targets = y + batch * y_batch_stride + first_row * y_row_stride + row.to(tl.int64) * y_row_stride
    length = tl.cast(length, tl.int32)
    shift = row * 0
    WIDTH: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    SLACK: tl.constexpr = WIDTH - 1 if PIECES else 0
    if PIECES:  # what is read begins up to WIDTH - 1 columns before a row
        shift = (sources.to(tl.int64) // (16 // WIDTH) % WIDTH).to(tl.int32)
        sources = tl.multiple_of(sources - shift, 16)[:, None] + lane
    else:
        sources = sources[:, None] + lane.to(tl.int64) * x_col_stride
    if CHUNKS > 0 and not ALL:
        WINDOWS: tl.constexpr = min(BLOCK_OUT, MOST_WINDOWS)
        totals = _totals(sources, step, shift, length, WINDOW, -PADDING, STRIDE, WINDOWS, CHUNKS, SLACK, ACC)
        for window in tl.static_range(WINDOWS):
            # Two numbers compare to a number, which is no mask in the interpreter: hence `row * 0`.
            start = tl.full((), window * STRIDE - PADDING, tl.int32)
            mean = over_threads(totals[window]) * _weight(start, WINDOW, PADDING, length, DIVISOR, ACC)
            tl.store(targets + window, mean.to(y.dtype.element_ty), mask=held & (row * 0 + out_length > window))
    else:
        output = tl.arange(0, BLOCK_OUT)[None, :]
        start = output * STRIDE - PADDING
        if ALL:
            (total,) = _totals(sources, step, shift, length, CHUNKS * CHUNK, 0, 1, 1, CHUNKS, SLACK, ACC)
            # If there are several outputs, all threads of a row need it.
            total = (over_threads(total) if BLOCK_OUT == 1 else tl.sum(total, axis=1))[:, None]
        else:
            values = tl.load(sources, mask=lane < length, other=0.0, eviction_policy=READ_ONCE).to(ACC)
            from_left = tl.cumsum(values, axis=1)
            from_right = tl.cumsum(values, axis=1, reverse=True)
            last = tl.minimum(start + WINDOW, length) - 1
            from_left = _picked(from_left, last)
            from_right = _picked(from_right, start)
            total = tl.where(start <= 0, from_left, from_right)
        mean = total * _weight(start, WINDOW, PADDING, length, DIVISOR, ACC)
        tl.store(targets[:, None] + output, mean.to(y.dtype.element_ty), mask=held[:, None] & (output < out_length))


@triton.jit
def backward_by_rows(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements
    grad_x,  # [batch, rows, length]; the stride of its columns is 1
    rows,
    length,
    out_length,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    x_batch_stride,
    x_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALL: tl.constexpr,  # every window covers the whole row
    CHUNKS: tl.constexpr,  # not 0 if windows are few or cover the whole row
    BLOCK_OUT: tl.constexpr,  # at least `length`
    ROWS_PER_PROG: tl.constexpr,
    CHUNK: tl.constexpr,  # at least out_length
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    batch, first_row, row, held = _place_of_rows(rows, ROWS_PER_PROG)
    sources = grad_y + batch * y_batch_stride + first_row * y_row_stride + row.to(tl.int64) * y_row_stride
    targets = grad_x + batch * x_batch_stride + first_row * x_row_stride + row.to(tl.int64) * x_row_stride
    length = tl.cast(length, tl.int32)
    column = tl.arange(0, BLOCK_OUT)[None, :]
    if CHUNKS > 0 and not ALL:
        gradient = tl.zeros((ROWS_PER_PROG, BLOCK_OUT), ACC)
        for window in tl.static_range(min(CHUNK, MOST_WINDOWS)):
            source = sources + window * tl.cast(y_col_stride, tl.int64)
            value = tl.load(source, mask=held & (row * 0 + out_length > window), other=0.0).to(ACC)
            start = tl.full((), window * STRIDE - PADDING, tl.int32)
            value *= _weight(start, WINDOW, PADDING, length, DIVISOR, ACC)
            gradient += tl.where((column >= start) & (column < start + WINDOW), value[:, None], 0.0)
    else:
        window = tl.arange(0, CHUNK)[None, :]
        inside = held[:, None] & (window < out_length)
        values = tl.load(sources[:, None] + window.to(tl.int64) * y_col_stride, mask=inside, other=0.0).to(ACC)
        values *= _weight(window * STRIDE - PADDING, WINDOW, PADDING, length, DIVISOR, ACC)
        if ALL:
            gradient = tl.sum(values, axis=1)[:, None]
        else:
            from_left = tl.cumsum(values, axis=1)
            from_right = tl.cumsum(values, axis=1, reverse=True)
            oldest = tl.maximum(column + (PADDING - WINDOW + STRIDE), 0) // STRIDE
            youngest = tl.minimum((column + PADDING) // STRIDE, tl.cast(out_length, tl.int32) - 1)
            from_left = _picked(from_left, youngest)
            from_right = _picked(from_right, oldest)
            gradient = tl.where(oldest <= youngest, tl.where(oldest == 0, from_left, from_right), 0.0)
    wanted = held[:, None] & (column < length)
    tl.store(targets[:, None] + column, gradient.to(grad_x.dtype.element_ty), mask=wanted)


@triton.jit
def backward_over_row_ends(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements
    grad_x,  # [batch, rows, length]; the rows of an entry follow each other without a gap
    rows,
    length,  # at least as many as fill 16 bytes
    out_length,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    x_batch_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BLOCK: tl.constexpr,
    WINDOWS: tl.constexpr,  # at least out_length
):
    """Compute `backward_by_rows` if every window covers the whole row: by aligned stores, each of up to two rows."""
    SIZE: tl.constexpr = grad_x.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    end = tl.cast(rows, tl.int64) * length
    tiles = blocks(end + (WIDTH - 1), BLOCK)
    tile = tl.program_id(0).to(tl.int64)
    batch = tile * 0
    if tile >= tiles:  # a division of 64 bits costs as much as several elements
        batch = tile // tiles
        tile -= batch * tiles
    targets = grad_x + batch * x_batch_stride
    first = tile * BLOCK - targets.to(tl.int64) // SIZE % WIDTH
    if end < 2147483648:
        first_row = (tl.maximum(first, 0).to(tl.uint32) // tl.cast(length, tl.uint32)).to(tl.int64)
    else:
        first_row = tl.maximum(first, 0) // length
    at = (first - first_row * length).to(tl.int32) + tl.arange(0, BLOCK // WIDTH) * WIDTH
    row, _ = in_short_rows(tl.maximum(at, 0), length)
    sources = grad_y + batch * y_batch_stride + first_row * y_row_stride + row.to(tl.int64) * y_row_stride
    left = (rows - first_row).to(tl.int32) - row
    values = (sources, left, y_col_stride, length, out_length)
    here = _gradient_of_row(values, 0, 0, WINDOW, STRIDE, PADDING, DIVISOR, WINDOWS).to(grad_x.dtype.element_ty)
    after = _gradient_of_row(values, y_row_stride, 1, WINDOW, STRIDE, PADDING, DIVISOR, WINDOWS)
    after = after.to(grad_x.dtype.element_ty)
    lane = tl.arange(0, WIDTH)[None, :]
    wall = (row + 1) * tl.cast(length, tl.int32) - at  # elements of a group before the next row's first one
    gradient = tl.where(lane < wall[:, None], here[:, None], after[:, None])
    offset = tl.arange(0, BLOCK // WIDTH)[:, None] * WIDTH + lane
    targets = tl.multiple_of(targets + first, 16) + offset
    if (first >= 0) & (first + BLOCK <= end):
        tl.store(targets, gradient)
    else:
        tl.store(targets, gradient, mask=(first + offset >= 0) & (first + offset < end))


@triton.jit
def _gradient_of_row(values, ahead, ROW: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
                     PADDING: tl.constexpr, DIVISOR: tl.constexpr, WINDOWS: tl.constexpr):  # fmt: skip
    """Return the gradient of each group's row, or of the next one, which lies `ahead`; 0 beyond the last row."""
    sources, left, col_stride, length, out_length = values
    ACC: tl.constexpr = tl.float64 if sources.dtype.element_ty == tl.float64 else tl.float32
    total = tl.zeros(sources.shape, ACC)
    for window in tl.static_range(WINDOWS):
        pointers = sources + (ahead + window * tl.cast(col_stride, tl.int64))
        value = tl.load(pointers, mask=(left > ROW) & (left * 0 + out_length > window), other=0.0).to(ACC)
        start = tl.full((), window * STRIDE - PADDING, tl.int32)
        total += value * _weight(start, WINDOW, PADDING, tl.cast(length, tl.int32), DIVISOR, ACC)
    return total


@triton.jit
def _place_of_rows(rows, ROWS_PER_PROG: tl.constexpr):
    """Return this program's batch entry and first row (int64 scalars), its rows from there, and whether they exist."""
    row_blocks = blocks(rows, ROWS_PER_PROG)
    program = tl.program_id(0)
    batch = program * 0
    if program >= row_blocks:  # a division costs as much as several elements
        batch = program // row_blocks
    first_row = (program - batch * row_blocks).to(tl.int64) * ROWS_PER_PROG
    row = tl.arange(0, ROWS_PER_PROG)
    return batch.to(tl.int64), first_row, row, row < tl.minimum(rows - first_row, ROWS_PER_PROG).to(tl.int32)


@triton.jit
def _weight(start, WINDOW: tl.constexpr, PADDING: tl.constexpr, length, DIVISOR: tl.constexpr, ACC: tl.constexpr):
    """Return 1 / divisor of the windows that begin at the columns `start`."""
    if DIVISOR == "window":
        return inverse(WINDOW, WINDOW, ACC)
    else:
        return 1.0 / divisor(start, WINDOW, 0, length, length + PADDING, DIVISOR).to(ACC)


@triton.jit
def _picked(values, index):
    """Return of each row of `values` the elements at `index`, [1, n]; any of them if the index lies outside."""
    index = tl.minimum(tl.maximum(index, 0), values.shape[1] - 1)
    return tl.gather(values, tl.broadcast_to(index, (values.shape[0], index.shape[1])), 1)


@triton.jit
def _totals(sources, step, shift, length, WINDOW: tl.constexpr, FIRST: tl.constexpr, STRIDE: tl.constexpr,
            WINDOWS: tl.constexpr, CHUNKS: tl.constexpr, SLACK: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Sum WINDOWS windows of each row, the first of which begins at the column FIRST, by CHUNKS parts of a row.

    `sources` is [rows, columns that are read at a time] and begins `shift` columns before each row, up to SLACK. CHUNKS
    are as many as the row with the most shift needs. Returns a tuple of tiles as large, whose columns are not yet added
    up.
    """
    CHUNK: tl.constexpr = sources.shape[1]
    WIDTH: tl.constexpr = SLACK + 1
    SURE: tl.constexpr = (CHUNKS - 1) * CHUNK - SLACK + 1  # columns that every row has
    lane = tl.arange(0, CHUNK)[None, :]
    end = (shift + length)[:, None]
    totals = ()
    for _ in tl.static_range(WINDOWS):
        totals = totals + (tl.zeros(sources.shape, ACC),)
    for at in tl.static_range(0, CHUNKS * CHUNK, CHUNK):
        pointers = sources + at * step
        piece = lane // WIDTH * WIDTH + at  # a column if SLACK is 0
        if at + CHUNK <= SURE:
            values = tl.load(pointers, eviction_policy=READ_ONCE).to(ACC)
        else:
            values = tl.load(pointers, mask=piece < end, other=0.0, eviction_policy=READ_ONCE).to(ACC)
        if at + CHUNK > SURE and SLACK > 0:
            values = tl.where(lane + at < end, values, 0.0)
        if at < SLACK:
            values = tl.where(lane + at >= shift[:, None], values, 0.0)
        totals = _added(totals, values, shift, at, FIRST, WINDOW, STRIDE, SLACK)
    return totals


@triton.jit
def _added(totals, values, shift, AT: tl.constexpr, FIRST: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
           SLACK: tl.constexpr):  # fmt: skip
    """Add to the total of each window those `values` that it holds; the first is the row's column AT - `shift`."""
    sums = ()
    for window in tl.static_range(len(totals)):
        held = _held(values, shift, AT, FIRST + window * STRIDE, FIRST + window * STRIDE + WINDOW, SLACK)
        sums = sums + (totals[window] + held,)
    return sums


@triton.jit
def _held(values, shift, AT: tl.constexpr, START: tl.constexpr, END: tl.constexpr, SLACK: tl.constexpr):
    """Return the values between the columns START and END, and 0 elsewhere; selected only where these may lie."""
    CHUNK: tl.constexpr = values.shape[1]
    if AT + CHUNK <= START or AT - SLACK >= END:
        return tl.zeros(values.shape, values.dtype)
    else:
        column = tl.arange(0, CHUNK)[None, :] + AT
        if START > 0 and START > AT - SLACK:
            values = tl.where(column >= (shift + START)[:, None], values, 0.0)
        if AT + CHUNK > END:
            values = tl.where(column < (shift + END)[:, None], values, 0.0)
        return values
