"""Average pooling by 16-byte accesses, over rows whose elements lie next to each other.

A thread holds groups of as many outputs as fill 16 bytes, and reads what their windows cover in aligned 16-byte pieces,
which `window_sums.py` sums. If rows do not begin at multiples of 16 bytes, tiles begin where stores are aligned, and
each way in which loads can then lie has its own copy of the code. Tiles at the ends of rows are read and written under
masks; so are short rows, several to a program.
"""

import triton
import triton.language as tl

from .registers import tile_of
from .tiles import blocks, divisor, in_short_rows, inverse, place, place_in_short_rows
from .window_sums import ACCUMULATOR, DIVISOR_RULE, IS_SCALED, KERNEL_SIZE, sums_by_scans, sums_in_registers


@triton.jit
def slide(
    source,  # [batch, rows, read_length], with the strides below, in elements; that of columns is 1
    target,  # [batch, rows, written_length]
    rows,
    read_length,
    written_length,
    length,  # of a row of x: read_length forward, written_length backward
    source_batch_stride,
    source_row_stride,
    target_batch_stride,
    target_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,  # at stride 1 only, where the windows that hold an element form a window too
    SCANS: tl.constexpr,  # for wide windows, at stride 1 only
    ALIGNED: tl.constexpr,  # rows of source and target begin and end at multiples of 16 bytes
    SHORT: tl.constexpr,  # rows end within a tile, which holds groups of several rows
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """target[b, r, o] = the mean of source[b, r, o * STRIDE - PADDING :][:WINDOW], or at stride 1 its gradient."""
    ACC: tl.constexpr = tl.float64 if source.dtype.element_ty == tl.float64 else tl.float32
    LEFT: tl.constexpr = WINDOW - 1 - PADDING if BACKWARD else PADDING
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    GROUPS: tl.constexpr = BLOCK_OUT // WIDTH  # of a row
    ALL: tl.constexpr = ROWS_PER_PROG * GROUPS
    SCALED: tl.constexpr = BACKWARD and DIVISOR != "window"
    POOLING: tl.constexpr = (SCALED, WINDOW, PADDING, DIVISOR, ACC)  # see `window_sums.py`
    ROWS: tl.constexpr = SHORT or ROWS_PER_PROG > 1  # the tile has several
    LEADING: tl.constexpr = not ALIGNED and ROWS_PER_PROG == 1  # the tile begins where stores are aligned
    per_row = blocks(written_length, WIDTH)
    if SHORT:
        batch, first_row, first_group, count = place_in_short_rows(rows, per_row, ALL)
        first = first_row * 0
    else:
        SLACK: tl.constexpr = WIDTH - 1 if LEADING else 0
        tiles = blocks(tl.cast(written_length, tl.int64) + SLACK, BLOCK_OUT)
        batch, first_row, tile = place(rows, tiles, ROWS_PER_PROG)
        first = tile * BLOCK_OUT
        first_group = 0
        count = tl.minimum(rows - first_row, ROWS_PER_PROG).to(tl.int32) * GROUPS
    source_row = source + batch * source_batch_stride + first_row * source_row_stride
    target_row = target + batch * target_batch_stride + first_row * target_row_stride
    if ALIGNED:
        source_row = tl.multiple_of(source_row, 16)
        target_row = tl.multiple_of(target_row, 16)
    if LEADING:
        first -= target_row.to(tl.int64) // SIZE % WIDTH
    start = first * STRIDE - LEFT

    index = tl.arange(0, ALL)
    row, group = _rows_and_groups(index, first_group, per_row, SHORT, GROUPS)
    read_at = _at(row, source_row_stride, group, WIDTH * STRIDE, WIDTH, ROWS, ALIGNED)
    write_at = _at(row, target_row_stride, group, WIDTH, WIDTH, ROWS, ALIGNED)

    inside = (count == ALL) & (start >= 0)
    if SHORT:
        inside &= tl.cast(written_length - 1, tl.int64) * STRIDE + WINDOW <= read_length + LEFT
    else:
        inside &= (first >= 0) & (first + BLOCK_OUT <= written_length)
        inside &= start + (BLOCK_OUT - 1) * STRIDE + WINDOW <= read_length
    if SCALED:  # no window that is read is cut by an end of the row
        inside &= (start >= PADDING) & (start + BLOCK_OUT - 2 + 2 * WINDOW - PADDING <= length)
    if not (ALIGNED or LEADING):
        inside &= False  # rows lie in different ways
    if inside:
        targets = tl.multiple_of(target_row + first, 16) + write_at
        if ALIGNED:
            SHIFT: tl.constexpr = -LEFT % WIDTH
            sources = tl.multiple_of(source_row + (start - SHIFT), 16) + read_at
            _store_whole(sources, targets, SHIFT, STRIDE, SCANS, GROUPS, POOLING)
        else:
            shift = (source_row + start).to(tl.int64) // SIZE % WIDTH
            sources = tl.multiple_of(source_row + (start - shift), 16) + read_at
            for way in tl.static_range(WIDTH):
                if shift == way:
                    _store_whole(sources, targets, way, STRIDE, SCANS, GROUPS, POOLING)
    else:
        # No window of the tile ends beyond its reach, so that bounds cut to it fit into 32 bits.
        REACH: tl.constexpr = BLOCK_OUT * STRIDE + 2 * WINDOW
        low = tl.maximum(-start, -REACH).to(tl.int32)
        high = tl.minimum(tl.maximum(read_length - start, -REACH), REACH).to(tl.int32)
        end = tl.minimum(tl.maximum(length - start, -REACH), REACH).to(tl.int32)
        padded_end = tl.minimum(tl.maximum(length - start + PADDING, -REACH), REACH).to(tl.int32)
        bounds = (low, high, end, padded_end)
        FROM: tl.constexpr = -LEFT % WIDTH if ALIGNED else 0
        edge = source_row + (start - FROM)
        begin = target_row + first
        if ALIGNED:
            edge = tl.multiple_of(edge, 16)
            begin = tl.multiple_of(begin, 16)
        if SHORT:
            held = (index < count)[:, None]
        else:
            held = (row < tl.minimum(rows - first_row, ROWS_PER_PROG).to(tl.int32))[:, None]
        # Aligned, a piece lies in its row as a whole or not at all, so that masks are the same for all of its columns.
        lane = tl.arange(0, 1 if ALIGNED else WIDTH)[None, :]
        columns = group * (WIDTH * STRIDE)
        if SCANS:
            sums = sums_by_scans(edge + read_at, columns[:, None] + (lane - FROM), held, bounds, FROM, GROUPS, POOLING)
        else:
            sums = sums_in_registers(
                edge + read_at, columns[:, None] + (lane - FROM), held, bounds, FROM, STRIDE, POOLING
            )
        means = ()
        for output in tl.static_range(WIDTH):
            mean = _mean(sums[output], columns + output * STRIDE, bounds, POOLING)
            means = means + (mean.to(target.dtype.element_ty),)
        output_at = group[:, None] * WIDTH + lane
        first_output = tl.maximum(-first, 0).to(tl.int32)
        end_output = tl.minimum(written_length - first, BLOCK_OUT).to(tl.int32)
        wanted = held & (output_at >= first_output) & (output_at < end_output)
        tl.store(begin + write_at, tile_of(means), mask=wanted)


@triton.jit
def _mean(total, start, bounds, POOLING: tl.constexpr):
    """Return the mean of windows that begin at the columns `start` from their sum; `bounds` as in `load_piece`."""
    if POOLING[IS_SCALED]:
        return total
    elif POOLING[DIVISOR_RULE] == "window":
        return total * inverse(POOLING[KERNEL_SIZE], POOLING[KERNEL_SIZE], POOLING[ACCUMULATOR])
    else:
        low, _, end, padded_end = bounds
        count = divisor(start, POOLING[KERNEL_SIZE], low, end, padded_end, POOLING[DIVISOR_RULE])
        return total / count.to(POOLING[ACCUMULATOR])


@triton.jit
def _rows_and_groups(index, first_group, per_row, SHORT: tl.constexpr, GROUPS: tl.constexpr):
    """Return the rows of a program's groups, counted from its first row, and their places in them."""
    if SHORT:
        return in_short_rows(first_group + index, per_row)
    elif index.shape[0] == GROUPS:
        return index * 0, index
    else:
        return index // GROUPS, index % GROUPS


@triton.jit
def _at(row, row_stride, group, STEP: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, ALIGNED: tl.constexpr):
    """Return the offsets of WIDTH columns of each group, [groups, WIDTH]; groups of a row are STEP apart."""
    at = group * STEP
    if ROWS:
        at = row.to(tl.int64) * row_stride + at
        if ALIGNED:
            at = tl.multiple_of(at, WIDTH)
    return at[:, None] + tl.arange(0, WIDTH)[None, :]


@triton.jit
def _store_whole(sources, targets, SHIFT: tl.constexpr, STRIDE: tl.constexpr, SCANS: tl.constexpr,
                 GROUPS: tl.constexpr, POOLING: tl.constexpr):  # fmt: skip
    """Write a tile without masks, whose windows begin SHIFT columns into the pieces at `sources`."""
    everywhere = tl.full((sources.shape[0], 1), True, tl.int1)
    if SCANS:
        sums = sums_by_scans(sources, None, everywhere, None, SHIFT, GROUPS, POOLING)
    else:
        sums = sums_in_registers(sources, None, everywhere, None, SHIFT, STRIDE, POOLING)
    means = ()
    for output in tl.static_range(targets.shape[1]):
        mean = sums[output] * inverse(POOLING[KERNEL_SIZE], POOLING[KERNEL_SIZE], POOLING[ACCUMULATOR])
        means = means + (mean.to(targets.dtype.element_ty),)
    tl.store(targets, tile_of(means))
