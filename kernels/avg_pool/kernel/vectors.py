"""Average pooling by 16-byte accesses, over rows whose neighbours lie side by side: narrow windows, and wide ones.

A thread holds groups of as many outputs as fill 16 bytes, and reads what their windows cover in aligned 16-byte pieces;
`pieces.py` does the sums. Where rows don't begin at multiples of 16 bytes, tiles begin where stores are aligned, and
each way in which loads can then lie has its own copy of the code: all rows of a program lie alike, so that no thread
waits for another's way. Tiles at the ends of rows are read and written under masks.
"""

import triton
import triton.language as tl

from tunedb.kernels.avg_pool.kernel.pieces import sums_by_scans, sums_in_registers
from tunedb.kernels.avg_pool.kernel.registers import tile_of
from tunedb.kernels.avg_pool.kernel.tiles import blocks, divisor, inverse, place


@triton.jit
def slide(
    source,  # [batch, rows, read_length], by the strides below; columns lie side by side
    target,  # [batch, rows, written_length]
    rows,
    read_length,
    written_length,
    length,  # of a row of x: read_length going forward, written_length going backward
    source_batch_stride,
    source_row_stride,
    target_batch_stride,
    target_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,  # at stride 1 only: the windows that hold an element are a window too
    SCANS: tl.constexpr,  # for wide windows, at stride 1 only
    ALIGNED: tl.constexpr,  # rows of source and target begin at multiples of 16 bytes
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """target[b, r, o] = the mean of source[b, r, o * STRIDE - PADDING :][:WINDOW], or at stride 1 its gradient."""
    ACC: tl.constexpr = tl.float64 if source.dtype.element_ty == tl.float64 else tl.float32
    LEFT: tl.constexpr = WINDOW - 1 - PADDING if BACKWARD else PADDING
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    GROUPS: tl.constexpr = BLOCK_OUT // WIDTH
    SCALED: tl.constexpr = BACKWARD and DIVISOR != "window"
    # Rows of other remainders by WIDTH lie in other ways.
    ROW_STEP: tl.constexpr = 1 if ALIGNED or ROWS_PER_PROG == 1 else WIDTH
    SLACK: tl.constexpr = 0 if ALIGNED else WIDTH - 1
    batch, first_row, tile = place(rows, blocks(written_length + SLACK, BLOCK_OUT), ROWS_PER_PROG, ROW_STEP)
    source_row = source + batch * source_batch_stride + first_row * source_row_stride
    target_row = target + batch * target_batch_stride + first_row * target_row_stride
    first = tile * BLOCK_OUT
    if not ALIGNED:
        first -= target_row.to(tl.int64) // SIZE % WIDTH
    start = first * STRIDE - LEFT
    index = tl.arange(0, ROWS_PER_PROG * GROUPS)
    group = index % GROUPS if ROWS_PER_PROG > 1 else index
    row = tl.zeros((ROWS_PER_PROG * GROUPS,), tl.int32)
    read_at = group * (WIDTH * STRIDE)
    write_at = group * WIDTH
    if ROWS_PER_PROG > 1:
        row = index // GROUPS * ROW_STEP
        read_at = tl.multiple_of(row.to(tl.int64) * source_row_stride + read_at, WIDTH)
        write_at = tl.multiple_of(row.to(tl.int64) * target_row_stride + write_at, WIDTH)
    lane = tl.arange(0, WIDTH)[None, :]
    read_at = read_at[:, None] + lane
    write_at = write_at[:, None] + lane

    inside = (first >= 0) & (first + BLOCK_OUT <= written_length) & (start >= 0)
    inside &= start + (BLOCK_OUT - 1) * STRIDE + WINDOW <= read_length
    inside &= first_row + (ROWS_PER_PROG - 1) * ROW_STEP < rows
    if SCALED:  # no window that is read is cut by an end of the row
        inside &= (start >= PADDING) & (start + BLOCK_OUT - 2 + 2 * WINDOW - PADDING <= length)
    if inside:
        WHOLE: tl.constexpr = (False, False, WINDOW, PADDING, DIVISOR, ACC)
        targets = tl.multiple_of(target_row + first, 16) + write_at
        if ALIGNED:
            SHIFT: tl.constexpr = -LEFT % WIDTH
            sources = tl.multiple_of(source_row + (start - SHIFT), 16) + read_at
            _store_whole(sources, targets, SHIFT, STRIDE, SCANS, GROUPS, WHOLE)
        else:
            shift = (source_row + start).to(tl.int64) // SIZE % WIDTH
            sources = tl.multiple_of(source_row + (start - shift), 16) + read_at
            for way in tl.static_range(WIDTH):
                if shift == way:
                    _store_whole(sources, targets, way, STRIDE, SCANS, GROUPS, WHOLE)
    else:
        MASKED: tl.constexpr = (True, SCALED, WINDOW, PADDING, DIVISOR, ACC)
        # No window of the tile ends beyond its reach, so that bounds cut to it fit into 32 bits.
        REACH: tl.constexpr = BLOCK_OUT * STRIDE + 2 * WINDOW
        low = tl.maximum(-start, -REACH).to(tl.int32)
        high = tl.minimum(tl.maximum(read_length - start, -REACH), REACH).to(tl.int32)
        end = tl.minimum(tl.maximum(length - start, -REACH), REACH).to(tl.int32)
        padded_end = tl.minimum(tl.maximum(length + PADDING - start, -REACH), REACH).to(tl.int32)
        bounds = (low, high, end, padded_end)
        held = (row < tl.minimum(rows - first_row, ROWS_PER_PROG * ROW_STEP).to(tl.int32))[:, None]
        at = group[:, None] * (WIDTH * STRIDE) + lane
        if SCANS:
            sums = sums_by_scans(source_row + start + read_at, at, held, bounds, 0, GROUPS, MASKED)
        else:
            sums = sums_in_registers(source_row + start + read_at, at, held, bounds, 0, STRIDE, MASKED)
        means = ()
        for output in tl.static_range(WIDTH):
            if SCALED:
                mean = sums[output]
            elif DIVISOR == "window":
                mean = sums[output] * inverse(WINDOW, WINDOW, ACC)
            else:
                begin = group * (WIDTH * STRIDE) + output * STRIDE
                mean = sums[output] / divisor(begin, WINDOW, low, end, padded_end, DIVISOR).to(ACC)
            means = means + (mean.to(target.dtype.element_ty),)
        output_at = group[:, None] * WIDTH + lane
        first_output = tl.maximum(-first, 0).to(tl.int32)
        end_output = tl.minimum(written_length - first, BLOCK_OUT).to(tl.int32)
        wanted = held & (output_at >= first_output) & (output_at < end_output)
        tl.store(target_row + first + write_at, tile_of(means), mask=wanted)


@triton.jit
def _store_whole(sources, targets, SHIFT: tl.constexpr, STRIDE: tl.constexpr, SCANS: tl.constexpr,
                 GROUPS: tl.constexpr, WAY: tl.constexpr):  # fmt: skip
    """A tile without masks, whose windows begin SHIFT columns into the pieces at `sources`."""
    everywhere = tl.full((sources.shape[0], 1), True, tl.int1)
    if SCANS:
        sums = sums_by_scans(sources, None, everywhere, None, SHIFT, GROUPS, WAY)
    else:
        sums = sums_in_registers(sources, None, everywhere, None, SHIFT, STRIDE, WAY)
    means = ()
    for output in tl.static_range(targets.shape[1]):
        mean = sums[output] * inverse(WAY[2], WAY[2], WAY[5])
        means = means + (mean.to(targets.dtype.element_ty),)
    tl.store(targets, tile_of(means))
