"""Tiles of `vectors.py` at the ends of rows that are short, have gaps between them, or are whole pieces.

Each row has its own groups: where a row ends within a group, two threads hold that part of memory, and each writes its
row's outputs, one by one; all other groups are written by one access. So a row is counted as one group longer than it
is, wherever it begins. Columns outside the row count as 0. None of this is needed if rows are whole groups, and whole
pieces are read of them.
"""

import triton
import triton.language as tl

from .registers import tile_of, window_sums
from .shifted import load_words, place_in, shifted
from .tiles import divided, divisor, inverse, reciprocal


@triton.jit
def pool_at_row_ends(
    source,
    target,
    column,  # of the first output in its row
    pitch,  # of rows in numbered outputs, and its reciprocal for `divided`
    rows_left,
    to_next_row,  # elements that a group of the next row is read further on than one of the same row
    lengths,  # of rows that are written, that are read, and of x
    SHIFT: tl.constexpr,
    LEFT: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,
    OUTS: tl.constexpr,
    PIECES: tl.constexpr,
    BLOCK: tl.constexpr,
    BYTES: tl.constexpr,  # of a piece, if rows are whole pieces and whole groups, else 0
):
    """Write a tile in which rows end, or windows reach over their ends, from its first window and output on."""
    ARE_PIECES: tl.constexpr = BYTES > 0
    IS_WHOLE: tl.constexpr = ARE_PIECES or OUTS == 1
    SPARE: tl.constexpr = 0 if IS_WHOLE else OUTS  # outputs by which a row is counted longer
    LEAD: tl.constexpr = max(SPARE - 1, 0)
    group = tl.arange(0, BLOCK // OUTS)
    number = (column + LEAD + group * OUTS).to(tl.uint32)
    # `begin` is the column of the group's first output; below 0 it is another row's.
    if ARE_PIECES:
        row = tl.umulhi(number, pitch[1] + 1)  # exact, because the number times the pitch is below 2^32
        begin = (number - row * pitch[0]).to(tl.int32)
        row = row.to(tl.int32)
        held = row < rows_left[0]
    else:
        row, begin = divided(number, pitch[0], pitch[1])
        row = row.to(tl.int32)
        begin = begin.to(tl.int32) - LEAD
        held = (row < rows_left[0]) & (begin < lengths[0])
    at = row * to_next_row + group * (OUTS * STRIDE)
    pool_row_groups(
        source, target, at, group * OUTS - row * SPARE, begin, held, lengths,
        SHIFT, LEFT, WINDOW, STRIDE, PADDING, DIVISOR, BACKWARD, IS_WHOLE, BYTES, OUTS, PIECES,
    )  # fmt: skip


@triton.jit
def pool_row_groups(
    source,
    target,
    at,  # where the group's first window begins, from `source`
    place,  # and its first output, from `target`
    begin,  # the column of its first output in the row; outputs outside the row are not written
    held,  # whether the group is written at all
    lengths,
    SHIFT: tl.constexpr,
    LEFT: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,
    IS_WHOLE: tl.constexpr,  # no row ends within a group
    BYTES: tl.constexpr,  # of a piece, if no row that is read ends within one, else 0: a piece has 16
    OUTS: tl.constexpr,
    PIECES: tl.constexpr,
):
    """Write the outputs of groups that belong to one row each."""
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = (BYTES if BYTES > 0 else 16) // SIZE
    BITS: tl.constexpr = WIDTH // 2 - WIDTH // 8  # WIDTH is 2 to the power of it
    SPAN: tl.constexpr = (OUTS - 1) * STRIDE + WINDOW
    ahead = SHIFT if SHIFT >= 0 else place_in(source, WIDTH)
    if SHIFT >= 0:
        shift = SHIFT
    else:
        at += ahead
        shift = (at & (WIDTH - 1)).to(tl.int32)
    # Where the row that is read, and the row of x, begin and end, counted from the group's first window.
    low = LEFT - begin * STRIDE
    high = lengths[1] + low
    end = lengths[2] + low
    if BYTES > 0:
        wanted = tl.where(held, -low - shift, -WIDTH * PIECES), lengths[1], 0
    else:
        wanted = low + shift, tl.where(held, tl.minimum(high, SPAN) + shift, 0)
    words = load_words(source - ahead, at >> BITS, wanted, PIECES, WIDTH * SIZE)
    values = shifted(words, shift, SHIFT, SPAN, source.dtype.element_ty)
    values = _inside_rows(values, low, high, end, WINDOW, PADDING, DIVISOR, BACKWARD, BYTES > 0)
    sums = window_sums(values, OUTS, STRIDE, WINDOW)
    ACC: tl.constexpr = values[0].dtype
    means = ()
    for output in tl.static_range(OUTS):
        if DIVISOR == "window":
            mean = sums[output] * inverse(WINDOW, WINDOW, ACC)
        elif BACKWARD:
            mean = sums[output]
        else:
            count = divisor(output * STRIDE, WINDOW, low, end, end + PADDING, DIVISOR)
            mean = sums[output] * reciprocal(count, ACC)
        means = means + (mean,)
    outputs = tile_of(means).to(target.dtype.element_ty)
    lane = tl.arange(0, OUTS)[None, :]
    targets = target + (place[:, None] + lane)
    if IS_WHOLE:
        tl.store(targets, outputs, mask=held[:, None])
    else:
        own = tl.where(held, bits_between(-begin, lengths[0] - begin, OUTS), 0)
        is_whole = own == (1 << OUTS) - 1
        tl.store(targets, outputs, mask=is_whole[:, None])
        some = tl.where(is_whole, 0, own)[:, None]
        tl.store(targets, outputs, mask=(some & (1 << lane.to(tl.uint32))) != 0)


@triton.jit
def bits_between(low, high, COUNT: tl.constexpr):
    """Return COUNT bits, of which those from `low` to before `high`, at least one, are set: tests of them are cheap."""
    ones = tl.full((), (1 << COUNT) - 1, tl.uint32 if COUNT < 32 else tl.uint64)
    before = tl.minimum(tl.maximum(low, 0), COUNT - 1).to(ones.dtype)
    after = tl.minimum(tl.maximum(COUNT - high, 0), COUNT - 1).to(ones.dtype)
    return (ones << before) & (ones >> after)


@triton.jit
def _inside_rows(values, low, high, end, WINDOW: tl.constexpr, PADDING: tl.constexpr, DIVISOR: tl.constexpr,
                 BACKWARD: tl.constexpr, ARE_PIECES: tl.constexpr):  # fmt: skip
    """Return the columns that are read, 0 outside [low, high). In the gradient, divide each as its window was.

    No column is changed where no window of an output can reach over an end of its row; if ARE_PIECES, those outside
    have not been loaded, and are 0.
    """
    MAY_BEGIN_OUTSIDE: tl.constexpr = (WINDOW - 1 - PADDING > 0 if BACKWARD else PADDING > 0) and not ARE_PIECES
    MAY_END_OUTSIDE: tl.constexpr = MAY_BEGIN_OUTSIDE or (not BACKWARD and DIVISOR != "window" and not ARE_PIECES)
    inside_rows = ()
    if MAY_BEGIN_OUTSIDE or MAY_END_OUTSIDE:
        inside = bits_between(low, high, len(values))
    for column in tl.static_range(len(values)):
        value = values[column]
        if BACKWARD and DIVISOR != "window":  # window `column` of x begins PADDING to the left of that column
            start = column - PADDING
            value *= reciprocal(divisor(start, WINDOW, low, end, end + PADDING, DIVISOR), value.dtype)
        if MAY_BEGIN_OUTSIDE or MAY_END_OUTSIDE:
            value = tl.where((inside & (1 << column)) != 0, value, 0.0)
        inside_rows = inside_rows + (value,)
    return inside_rows
