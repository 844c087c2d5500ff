"""Average pooling at strides of 2 and more by strips: the columns from one window's start to the next.

A row is cut into strips of STRIDE columns, from PADDING before its first column on. One reading of a strip gives the
sum of all its columns and that of its first WINDOW % STRIDE. A window is WINDOW // STRIDE whole strips and the first
columns of one more: sums of whole strips double in length, each taken from its own and its neighbours' by `tl.gather`,
so that an output costs two exchanges for each bit of their number, and nothing is ever subtracted. Few threads read a
strip, because a sum over threads costs each of them an exchange for every doubling. Half-precision elements of long
strips are read by aligned pieces of 16 bytes, or pairs, wherever strips begin: one at a time they reached 0.7 to 0.8 of
the bandwidth. If all strips of a tile begin at the same column of a piece, one selection serves them all.

It is chosen for wide windows, forward. An element costs four to eight instructions: it is loaded, converted and added;
in short rows, whose tiles all need masks, up to 21.
"""

import triton
import triton.language as tl

from .strip_sums import sums_of_strip_pieces, sums_of_strips
from .strip_windows import windows_of_strips
from .tiles import READ_ONCE, blocks, divisor, in_short_rows, place, place_in_short_rows


@triton.jit
def forward_by_strips(
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
    ALIGNED: tl.constexpr,  # 1 if rows and strips begin at multiples of 16 bytes, else elements of an aligned load
    SHORT: tl.constexpr,  # the strips of all rows are numbered through
    WIDE: tl.constexpr,
    UNCUT: tl.constexpr,  # an aligned load lies in a row as a whole or not at all
    BLOCK_OUT: tl.constexpr,  # strips of a program, the last HALO of which begin no window of its own
    CHUNK: tl.constexpr,  # columns that are read at a time
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:WINDOW]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    WHOLE: tl.constexpr = WINDOW // STRIDE
    REST: tl.constexpr = WINDOW % STRIDE if WHOLE > 0 else 0
    HALO: tl.constexpr = WHOLE if REST > 0 else max(WHOLE - 1, 0)
    OUTPUTS: tl.constexpr = BLOCK_OUT - HALO
    COLUMNS: tl.constexpr = min(WINDOW, STRIDE)  # of a strip, those between windows left out
    # Numbered through, rows are shorter than this; else, no strip of a tile ends beyond it.
    REACH: tl.constexpr = 2**29 if SHORT else BLOCK_OUT * STRIDE + WINDOW
    GROUP: tl.constexpr = min(8 // CHUNK, BLOCK_OUT) if CHUNK < 8 else 1  # strips of a thread, if windows have many
    OFFSET: tl.constexpr = tl.int64 if WIDE else tl.int32
    step = tl.cast(x_col_stride, OFFSET)
    strip = tl.arange(0, BLOCK_OUT)
    if SHORT:
        per_row = tl.cast(out_length, tl.int32) + HALO
        batch, first_row, first_strip, _ = place_in_short_rows(rows, per_row, OUTPUTS)
        number = first_strip + strip  # counted from the first row's first strip
        row, output = in_short_rows(number, per_row)
        begin = tl.cast(-PADDING, tl.int64)
        start = number * STRIDE - row * (per_row * STRIDE)  # where a strip starts, counted from `begin`
        last_start = (per_row - 1) * STRIDE
        held = row < tl.minimum(rows - first_row, BLOCK_OUT).to(tl.int32)
        wanted = held & (output < out_length) & (strip < OUTPUTS)
        # As if strips went on to the next row, and what is missing or too much from there to its first strip.
        to_next_row = x_row_stride - tl.cast(per_row * STRIDE, tl.int64) * x_col_stride
        read_at = number.to(OFFSET) * (STRIDE * step) + row.to(OFFSET) * to_next_row.to(OFFSET)
        write_at = row.to(OFFSET) * tl.cast(y_row_stride, OFFSET) + output
        first = first_row * 0
        inside = (first_row < 0) & False
    else:
        batch, first_row, tile = place(rows, blocks(out_length, OUTPUTS), 1)
        first = tile * OUTPUTS
        begin = first * STRIDE - PADDING
        start = strip * STRIDE
        last_start = (BLOCK_OUT - 1) * STRIDE
        held = strip >= 0
        wanted = strip < tl.minimum(out_length - first, OUTPUTS).to(tl.int32)
        read_at = strip.to(OFFSET) * (STRIDE * step)
        write_at = strip
        inside = (begin >= 0) & (begin + ((BLOCK_OUT - 1) * STRIDE + COLUMNS) <= length)
    WIDTH: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    lane = tl.arange(0, CHUNK)[None, :]
    piece = lane
    if ALIGNED == 1:  # a piece of 16 bytes lies in its row as a whole or not at all
        read_at = tl.multiple_of(read_at, WIDTH)
        piece = lane // WIDTH * WIDTH
    sources = x + batch * x_batch_stride + first_row * x_row_stride + begin * x_col_stride
    shift = strip * 0
    if ALIGNED == 1:
        sources = tl.multiple_of(sources, 16)
    elif ALIGNED > 1:  # what is read begins up to ALIGNED - 1 columns before a strip
        before = (sources.to(tl.int64) // (16 // WIDTH) % ALIGNED).to(tl.int32)
        sources = tl.multiple_of(sources - before, 16 // WIDTH * ALIGNED)
        read_at += before
        shift = (read_at & (ALIGNED - 1)).to(tl.int32)
        read_at = tl.multiple_of(read_at - shift, ALIGNED)
    starts = sources + read_at
    sources = starts[:, None] + lane * step
    targets = y + batch * y_batch_stride + first_row * y_row_stride + first + write_at

    # Loads of parts of lines that other warps load parts of must leave them in the L1: 430 MB took 1.3 times as long.
    POLICY: tl.constexpr = READ_ONCE if WIDTH < 8 or ALIGNED == 2 or CHUNK >= 64 else ""
    if inside:  # windows that begin in the tile, and are not in its halo, end in it
        if ALIGNED > 1:
            whole, rest = sums_of_strip_pieces(starts, shift, None, False, CHUNK, ALIGNED, POLICY, COLUMNS, REST, ACC)
        else:
            whole, rest = sums_of_strips(sources, step, None, None, POLICY, COLUMNS, REST, ACC)
        mean = windows_of_strips(whole, rest, WHOLE, REST, GROUP) * tl.full((), 1.0 / WINDOW, ACC)
        tl.store(targets, mean.to(y.dtype.element_ty), mask=wanted if HALO > 0 else None)
    else:
        # From here on columns are counted from the row's first one, or from `begin` if that lies in the row.
        low = tl.maximum(-begin, 0).to(tl.int32)
        high = tl.minimum(length - begin - low, REACH)
        extent = tl.maximum(high, 0).to(tl.int32)
        padded_end = tl.minimum(length - begin - low + PADDING, REACH).to(tl.int32)
        start -= low
        if ALIGNED > 1:
            before_begin = tl.minimum(tl.maximum(begin, 0), ALIGNED).to(tl.int32)  # no load begins further before
            row_begin = shift - start - before_begin
            row_end = tl.where(held, shift + tl.minimum(extent - start, COLUMNS + ALIGNED), row_begin)
            of_row = row_begin, row_end
            whole, rest = sums_of_strip_pieces(
                starts, shift, of_row, not UNCUT, CHUNK, ALIGNED, POLICY, COLUMNS, REST, ACC
            )
        else:
            column = tl.where(held, start, -REACH)[:, None] + piece
            # Of windows that are far longer than the row, only the columns that some strip has inside the row.
            limits = (extent, tl.maximum(low - last_start, 0), extent + low)
            whole, rest = sums_of_strips(sources, step, column, limits, POLICY, COLUMNS, REST, ACC)
        total = windows_of_strips(whole, rest, WHOLE, REST, GROUP)
        if DIVISOR == "window":
            total *= tl.full((), 1.0 / WINDOW, ACC)
        else:
            total /= divisor(start, WINDOW, 0, extent, padded_end, DIVISOR).to(ACC)
        tl.store(targets, total.to(y.dtype.element_ty), mask=wanted)
