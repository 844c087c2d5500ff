"""Average pooling of wide windows at strides of 2 and more, over rows whose elements lie next to each other.

Threads that read next to each other share a window, and at its end add up what each has read. If windows overlap, they
share the sums of the columns between one window's start and the next.
"""

import triton
import triton.language as tl

from .tiles import blocks, divisor, place


@triton.jit
def forward_by_sums(
    x,  # [batch, rows, length], with the strides below, in elements; that of columns is 1
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
    CHUNK: tl.constexpr,  # columns that are read at a time, of a window or from one window's start to the next
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:WINDOW]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    batch, first_row, tile = place(rows, blocks(out_length, BLOCK_OUT), ROWS_PER_PROG)
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
    sources = begin + read_at[:, None] + tl.arange(0, CHUNK)[None, :]
    targets = y + batch * y_batch_stride + first_row * y_row_stride + first + write_at

    whole = (first + BLOCK_OUT <= out_length) & (first_row + ROWS_PER_PROG <= rows)
    if whole & (start >= 0) & (start + (BLOCK_OUT - 1) * STRIDE + WINDOW <= length):
        total = _sums_of_windows(sources, window, None, None, WINDOW, STRIDE, BLOCK_OUT, ACC)
        tl.store(targets, (total * tl.full((), 1.0 / WINDOW, ACC)).to(y.dtype.element_ty))
    else:
        held = row < rows - first_row
        left = start + window.to(tl.int64) * STRIDE  # column of x
        total = _sums_of_windows(sources, window, left, (held, length), WINDOW, STRIDE, BLOCK_OUT, ACC)
        count = divisor(left, WINDOW, 0, length, tl.cast(length, tl.int64) + PADDING, DIVISOR)
        tl.store(targets, (total / count.to(ACC)).to(y.dtype.element_ty), mask=held & (window < out_length - first))


@triton.jit
def _sums_of_windows(sources, window, left, limits, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
                     PER_ROW: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Return the sum of each window, [windows]; a row has PER_ROW of them, which begin STRIDE apart.

    `sources` is [windows, columns that are read at a time]; `left` is the column of x where each window begins. With
    `limits` (which windows' rows are held, the length of a row), what lies in no such row or outside it counts as 0;
    without, nothing is masked.

    Windows that overlap share the sums of blocks of STRIDE columns, as `sums_by_scans` shares pieces: a window is a
    suffix of SHARING blocks, a core that these windows share, a prefix of what follows, and some columns.
    """
    ALL: tl.constexpr = sources.shape[0]
    BLOCKS: tl.constexpr = WINDOW // STRIDE
    if BLOCKS < 2:
        return _sums_ahead(sources, left, limits, None, 0, WINDOW, ACC)
    else:
        SHARING: tl.constexpr = min(PER_ROW, triton.next_power_of_2(BLOCKS + 1) // 2)
        CORE: tl.constexpr = BLOCKS - SHARING
        within = window % SHARING
        suffix = _sums_ahead(sources, left, limits, None, 0, STRIDE, ACC)
        suffix = tl.cumsum(tl.reshape(suffix, (ALL // SHARING, SHARING)), axis=1, reverse=True)
        prefix = _sums_ahead(sources, left, limits, None, (BLOCKS - 1) * STRIDE, STRIDE, ACC)
        prefix = tl.where(within > 0, prefix, 0.0)  # the first window has none of the blocks that follow
        total = suffix + tl.cumsum(tl.reshape(prefix, (ALL // SHARING, SHARING)), axis=1)
        if CORE > 0:
            core = tl.zeros((ALL,), ACC)
            for turn in tl.static_range((CORE + SHARING - 1) // SHARING):
                # Each of the windows that share adds one block.
                mine = within + turn * SHARING < CORE
                core += _sums_ahead(sources, left, limits, mine, (turn + 1) * SHARING * STRIDE, STRIDE, ACC)
            total += tl.sum(tl.reshape(core, (ALL // SHARING, SHARING)), axis=1)[:, None]
        total = tl.reshape(total, (ALL,))
        if WINDOW % STRIDE > 0:
            total += _sums_ahead(sources, left, limits, None, BLOCKS * STRIDE, WINDOW % STRIDE, ACC)
        return total


@triton.jit
def _sums_ahead(sources, left, limits, wanted, AHEAD: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr):
    """Sum COLUMNS columns from AHEAD after the start of each window; 0 for windows that are not `wanted`, if given."""
    CHUNK: tl.constexpr = sources.shape[1]
    lane = tl.arange(0, CHUNK)[None, :]
    total = tl.zeros(sources.shape, ACC)
    if limits is not None:
        held = limits[0][:, None] if wanted is None else (limits[0] & wanted)[:, None]
        for chunk in range(0, COLUMNS, CHUNK):
            column = left[:, None] + (lane + (chunk + AHEAD))
            inside = held & (lane + chunk < COLUMNS) & (column >= 0) & (column < limits[1])
            total += tl.load(sources + (chunk + AHEAD), mask=inside, other=0.0).to(ACC)
    else:
        # Unrolled, so that a thread has several loads in flight.
        AT_ONCE: tl.constexpr = 4 * CHUNK
        IN_TURNS: tl.constexpr = COLUMNS // AT_ONCE * AT_ONCE
        for turn in range(0, IN_TURNS, AT_ONCE):
            for chunk in tl.static_range(0, AT_ONCE, CHUNK):
                total += _chunk(sources + (turn + chunk + AHEAD), wanted, ACC)
        for chunk in tl.static_range(IN_TURNS, COLUMNS - CHUNK + 1, CHUNK):
            total += _chunk(sources + (chunk + AHEAD), wanted, ACC)
        REST: tl.constexpr = COLUMNS - COLUMNS // CHUNK * CHUNK  # the interpreter has no % of an int and a constexpr
        if REST > 0:
            rest = lane < REST if wanted is None else (lane < REST) & wanted[:, None]
            total += tl.load(sources + (COLUMNS - REST + AHEAD), mask=rest, other=0.0).to(ACC)
    return tl.sum(total, axis=1)


@triton.jit
def _chunk(sources, wanted, ACC: tl.constexpr):
    """Load the tile at `sources`; 0 for windows that are not `wanted`, if given."""
    if wanted is None:
        return tl.load(sources).to(ACC)
    else:
        return tl.load(sources, mask=wanted[:, None], other=0.0).to(ACC)
