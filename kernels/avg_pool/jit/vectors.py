"""Average pooling by 16-byte accesses, windows summed in a thread's registers.

A group is what a thread writes at a time: OUTS neighbouring outputs, at a multiple of their size in memory, wherever
rows begin. All rows of a batch entry are numbered through, so that tiles begin and end anywhere in rows too. What a
group's windows cover is read in aligned pieces of 16 bytes, which `shifted.py` puts right. A tile that lies inside a
row has no masks. Others are written by `ends_apart.py` if rows are much longer than groups, but not much longer than
tiles; else by `walls.py` or, if rows have gaps, by `row_ends.py`. If rows are whole groups and whole pieces, it costs
little to say which of these exist: `row_ends.py` does it then too, and pieces of short rows may have 4 or 8 bytes.

At stride 1 an output costs about 3 additions whatever its window, 2 to 3 instructions for reading and writing, and as
many to put columns right if rows are not aligned: 7 to 15 in all in half precision. At the ends of rows it costs up
to twice as many.
"""

import triton
import triton.language as tl

from .ends_apart import pool_ends_apart
from .registers import tile_of, window_sums
from .row_ends import pool_at_row_ends
from .shifted import load_words, place_in, shifted
from .tiles import blocks, divided, inverse
from .walls import pool_across_walls


@triton.jit
def slide(
    source,  # [batch, rows, read_length], with the strides below, in elements; that of columns is 1
    target,  # [batch, rows, columns], whose rows follow each other without gaps
    rows,
    read_length,
    columns,
    length,  # of a row of x: read_length forward, columns backward
    source_batch_stride,
    source_row_stride,
    target_batch_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,  # at stride 1 only, where the windows that hold an element form a window too
    IS_KNOWN: tl.constexpr,  # windows of all groups begin at the same place of a piece
    ENDS: tl.constexpr,  # how row ends are written: one of the three numbers below
    IS_WIDE: tl.constexpr,  # places need 64 bits, or there are several batch entries
    IS_WHOLE: tl.constexpr,  # rows of the target begin with groups
    GAP: tl.constexpr,  # a row of the source, less the columns of its outputs' strides, if ENDS is WALLS; see IN_PIECES
    OUTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """target[b, r, o] = the mean of source[b, r, o * STRIDE - PADDING :][:WINDOW], or at stride 1 its gradient."""
    BYTES: tl.constexpr = GAP if ENDS == IN_PIECES else 16  # of a piece
    WIDTH: tl.constexpr = BYTES * 8 // source.dtype.element_ty.primitive_bitwidth
    LEFT: tl.constexpr = WINDOW - 1 - PADDING if BACKWARD else PADDING
    SHIFT: tl.constexpr = -LEFT % WIDTH if IS_KNOWN else -1
    PIECES: tl.constexpr = ((SHIFT if IS_KNOWN else WIDTH - 1) + (OUTS - 1) * STRIDE + WINDOW + WIDTH - 1) // WIDTH
    # Outputs of a row whose windows reach back over its begin, or in the gradient hold windows of y that do.
    HEAD: tl.constexpr = (LEFT + STRIDE - 1) // STRIDE + (PADDING if BACKWARD and DIVISOR != "window" else 0)
    LEAD: tl.constexpr = OUTS - 1 if ENDS == OWN_GROUPS else -HEAD if ENDS == WALLS else 0
    SPARE: tl.constexpr = OUTS if ENDS == OWN_GROUPS and OUTS > 1 else 0  # outputs by which a row is counted longer
    PLACING: tl.constexpr = (STRIDE, LEFT, LEAD, ENDS, IS_WHOLE, OUTS, BLOCK, SPARE)
    if IS_WIDE:
        source_at, target_at, column, pitch, left, lengths = _far_place(
            target, rows, read_length, columns, length, source_batch_stride, source_row_stride, target_batch_stride,
            PLACING,
        )  # fmt: skip
    else:
        source_at, target_at, column, pitch, left, lengths = _place(
            target, rows, read_length, columns, length, source_row_stride, PLACING
        )
    source += source_at
    target = tl.multiple_of(target + target_at, target.dtype.element_ty.primitive_bitwidth // 8 * OUTS)

    # The last piece that is read begins in the row, too.
    REACH: tl.constexpr = (BLOCK - OUTS) * STRIDE - LEFT + max((OUTS - 1) * STRIDE + WINDOW, (PIECES - 1) * WIDTH + 1)
    inside = (column >= HEAD) & (column <= lengths[0] - BLOCK)
    inside &= column * STRIDE <= lengths[1] - REACH
    if ENDS == WALLS:  # the last tile may begin behind the array
        inside &= left[3] >= BLOCK
    elif ENDS >= APART:
        inside &= left[1] > 0
    if BACKWARD and DIVISOR != "window":  # no window that is read is cut by the end of the row
        inside &= column <= lengths[2] - (BLOCK - 2 + 2 * WINDOW - PADDING - LEFT)
    if ENDS >= APART:
        to_next_row = source_row_stride - tl.cast(columns, tl.int64 if IS_WIDE else tl.int32) * STRIDE
        pool_ends_apart(
            source, target, column, pitch, left, to_next_row, lengths, inside,
            SHIFT, LEFT, HEAD, WINDOW, STRIDE, PADDING, DIVISOR, BACKWARD, IS_WHOLE, OUTS, PIECES, BLOCK, ENDS,
        )  # fmt: skip
    elif inside:
        _pool_inside(source, target, SHIFT, WINDOW, STRIDE, OUTS, PIECES, BLOCK, BYTES)
    elif ENDS != WALLS and ENDS < APART:
        to_next_row = source_row_stride - (tl.cast(columns, tl.int64 if IS_WIDE else tl.int32) + SPARE) * STRIDE
        pool_at_row_ends(
            source, target, column, pitch, left, to_next_row, lengths,
            SHIFT, LEFT, WINDOW, STRIDE, PADDING, DIVISOR, BACKWARD, OUTS, PIECES, BLOCK,
            BYTES if ENDS == IN_PIECES else 0,
        )  # fmt: skip
    else:
        pool_across_walls(
            source, target, column, pitch, left, lengths,
            SHIFT, LEFT, HEAD, WINDOW, STRIDE, PADDING, DIVISOR, BACKWARD, IS_WHOLE, GAP, OUTS, BLOCK,
        )  # fmt: skip


# What ENDS says about tiles that do not lie inside a row.
WALLS = tl.constexpr(0)  # `walls.py`: the source has no gaps, and a group is in two rows
OWN_GROUPS = tl.constexpr(1)  # `row_ends.py`: each row has groups of its own
IN_PIECES = tl.constexpr(2)  # `row_ends.py`: rows are whole groups, and what is read whole pieces of GAP bytes
APART = tl.constexpr(3)  # or more, the groups of a thread. `ends_apart.py`: those at ends are written after the others

# The places of PLACING, a tuple of constants.
COLUMN_STEP = tl.constexpr(0)
PADDED_BY = tl.constexpr(1)
LEADING = tl.constexpr(2)  # places in the numbering before a row's first output
KIND_OF_ENDS = tl.constexpr(3)
BEGINS_WITH_GROUPS = tl.constexpr(4)
GROUP_OUTPUTS = tl.constexpr(5)
TILE_OUTPUTS = tl.constexpr(6)
SPARE_OUTPUTS = tl.constexpr(7)


@triton.jit
def _place(target, rows, read_length, columns, length, source_row_stride, PLACING: tl.constexpr):
    """Return where a program's tile is, if 32 bits are enough for all places in what is written and in its rows.

    Those are: how far from the pointers its first window and output lie; the column of the row that this output is in;
    the pitch of rows in numbered outputs, with its reciprocal for `divided`; what is left; and the lengths of rows that
    are written, that are read, and of x. Left are the rows from that one on, or if these lie in an array: the elements
    before and behind the first window, and before and behind the first output.
    """
    ENDS: tl.constexpr = PLACING[KIND_OF_ENDS]
    OWN: tl.constexpr = ENDS != WALLS and ENDS < APART
    LEAD: tl.constexpr = PLACING[LEADING]
    columns = tl.cast(columns, tl.int32)
    pitch = (columns + PLACING[SPARE_OUTPUTS]).to(tl.uint32)
    begin = tl.program_id(0) * PLACING[TILE_OUTPUTS]
    if not PLACING[BEGINS_WITH_GROUPS]:
        begin -= place_in(target, PLACING[GROUP_OUTPUTS])
    reciprocal = tl.full((), 4294967295, tl.uint32) // pitch
    row, column = divided((begin + LEAD if OWN else begin + (columns + LEAD)).to(tl.uint32), pitch, reciprocal)
    row = row.to(tl.int32)
    column = column.to(tl.int32) - LEAD
    place = column * PLACING[COLUMN_STEP] - PLACING[PADDED_BY]
    lengths = columns, read_length, length
    if OWN:
        source_at = row.to(tl.int64) * source_row_stride + place
        return source_at, begin - row * PLACING[SPARE_OUTPUTS], column, (pitch, reciprocal), (rows - row,), lengths
    elif ENDS >= APART:
        source_at = (row - 1).to(tl.int64) * source_row_stride + place
        return source_at, begin, column, (pitch, reciprocal), ((row == 0).to(tl.int32), rows + 1 - row), lengths
    else:
        place += (row - 1) * read_length
        left = place, rows * read_length - place, begin, rows * columns - begin
        return place, begin, column, (pitch, reciprocal), left, lengths


@triton.jit
def _far_place(target, rows, read_length, columns, length, source_batch_stride, source_row_stride, target_batch_stride,
               PLACING: tl.constexpr):  # fmt: skip
    """Return what `_place` does, in any batch entry.

    Places in the tile's rows are counted in 32 bits too. A longer row is cut in its middle, where no tile needs masks.
    """
    ENDS: tl.constexpr = PLACING[KIND_OF_ENDS]
    OWN: tl.constexpr = ENDS != WALLS and ENDS < APART
    LEAD: tl.constexpr = PLACING[LEADING]
    MOST: tl.constexpr = (2**30 - 2**20) // PLACING[COLUMN_STEP]
    columns = tl.cast(columns, tl.int64)
    pitch = columns + PLACING[SPARE_OUTPUTS]
    slack = 0 if OWN or PLACING[BEGINS_WITH_GROUPS] else PLACING[GROUP_OUTPUTS] - 1
    tiles = blocks(pitch * rows + slack, PLACING[TILE_OUTPUTS])
    batch = tl.program_id(0) // tiles
    begin = (tl.program_id(0) - batch * tiles) * PLACING[TILE_OUTPUTS]
    if not PLACING[BEGINS_WITH_GROUPS]:
        begin -= place_in(target + batch * target_batch_stride, PLACING[GROUP_OUTPUTS])
    at = begin + LEAD if OWN else begin + (columns + LEAD)
    row = at // pitch
    column = at - row * pitch
    place = (column - LEAD) * PLACING[COLUMN_STEP] - PLACING[PADDED_BY]
    cut = tl.maximum(pitch - MOST, 0)
    column = tl.where(column > MOST // 2, tl.maximum(column - cut, MOST // 2), column).to(tl.int32) - LEAD
    short_pitch = (pitch - cut).to(tl.uint32)
    pitches = short_pitch, tl.full((), 4294967295, tl.uint32) // short_pitch
    short_length = (read_length - cut * PLACING[COLUMN_STEP]).to(tl.int32)
    lengths = (columns - cut).to(tl.int32), short_length, (length - cut * PLACING[COLUMN_STEP]).to(tl.int32)
    source_at = batch * source_batch_stride
    target_at = batch * target_batch_stride + begin
    if OWN:
        left = (tl.minimum(rows - row, PLACING[TILE_OUTPUTS]).to(tl.int32),)
        return (
            source_at + row * source_row_stride + place,
            target_at - row * PLACING[SPARE_OUTPUTS],
            column,
            pitches,
            left,
            lengths,
        )
    elif ENDS >= APART:
        left = (row == 0).to(tl.int32), tl.minimum(rows + 1 - row, PLACING[TILE_OUTPUTS]).to(tl.int32)
        return source_at + (row - 1) * source_row_stride + place, target_at, column, pitches, left, lengths
    else:
        place += (row - 1) * read_length
        FAR: tl.constexpr = 2**30
        before = tl.minimum(place, FAR).to(tl.int32), tl.minimum(begin, FAR).to(tl.int32)
        behind = tl.minimum(rows * tl.cast(read_length, tl.int64) - place, FAR).to(tl.int32)
        left = before[0], behind, before[1], tl.minimum(rows * columns - begin, FAR).to(tl.int32)
        return source_at + place, target_at, column, pitches, left, lengths


@triton.jit
def _pool_inside(source, target, SHIFT: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr, OUTS: tl.constexpr,
                 PIECES: tl.constexpr, BLOCK: tl.constexpr, BYTES: tl.constexpr):  # fmt: skip
    """Write a tile whose windows all lie in one row, from where `source` points to on."""
    WIDTH: tl.constexpr = BYTES * 8 // source.dtype.element_ty.primitive_bitwidth
    STEP: tl.constexpr = OUTS * STRIDE
    group = tl.arange(0, BLOCK // OUTS)
    ahead = SHIFT if SHIFT >= 0 else place_in(source, WIDTH)
    if SHIFT >= 0 or STEP % WIDTH == 0:
        shift = ahead
        piece = group * (STEP // WIDTH)
    else:
        shift = (ahead + group * STEP) & (WIDTH - 1)
        piece = (ahead + group * STEP) // WIDTH
    words = load_words(source - ahead, piece, None, PIECES, BYTES)
    values = shifted(words, shift, SHIFT, STEP - STRIDE + WINDOW, source.dtype.element_ty)
    sums = window_sums(values, OUTS, STRIDE, WINDOW)
    means = ()
    for output in tl.static_range(OUTS):
        means = means + (sums[output] * inverse(WINDOW, WINDOW, values[0].dtype),)
    outputs = tile_of(means).to(target.dtype.element_ty)  # here: neighbours are rounded in pairs
    tl.store(target + (group[:, None] * OUTS + tl.arange(0, OUTS)[None, :]), outputs)
