"""Tiles of `vectors.py` at the ends of rows that follow each other without gaps.

What is read is one array, and so is what is written. In it, each group has the end of one row next to it, a wall: the
outputs before it are of windows whose columns from the wall on count as 0, the others of windows whose columns before
it do. These begin GAP columns further on than they would in the same row. A group reads what both kinds cover, sums
both, and selects. Groups are numbered so that windows of a row's first outputs, which reach back over its begin, have
that begin as their wall.
"""

import triton
import triton.language as tl

from .registers import tile_of, window_sums
from .row_ends import bits_between
from .shifted import load_words, place_in, shifted
from .tiles import divided, inverse


@triton.jit
def pool_across_walls(
    source,
    target,
    column,  # of the first output in its row
    pitch,  # of rows of the target, and its reciprocal for `divided`
    left,  # elements of the source before the first window and from it on; of the target, before its first output etc.
    lengths,  # of rows that are written, that are read, and of x
    SHIFT: tl.constexpr,
    LEFT: tl.constexpr,
    HEAD: tl.constexpr,  # outputs of a row whose windows may have its begin as their wall
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    GAP: tl.constexpr,
    OUTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write a tile in which rows end, or windows reach over their ends, from its first window and output on."""
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    BITS: tl.constexpr = 4 // SIZE + 1  # WIDTH is 2 to the power of it
    SPAN: tl.constexpr = (OUTS - 1) * STRIDE + WINDOW
    BACK: tl.constexpr = max(-GAP, 0)  # columns that windows of the next row reach back further
    FROM: tl.constexpr = (SHIFT - BACK) % WIDTH if SHIFT >= 0 else -1
    COUNT: tl.constexpr = SPAN + max(GAP, -GAP)
    PIECES: tl.constexpr = ((FROM if SHIFT >= 0 else WIDTH - 1) + COUNT + WIDTH - 1) // WIDTH
    group = tl.arange(0, BLOCK // OUTS)
    row, begin = divided((column - HEAD + group * OUTS).to(tl.uint32), pitch[0], pitch[1])
    begin = begin.to(tl.int32) + HEAD
    source -= BACK
    ahead = FROM if SHIFT >= 0 else place_in(source, WIDTH)
    at = group * (OUTS * STRIDE)
    if GAP != 0:
        at += row.to(tl.int32) * GAP
    if SHIFT >= 0:
        shift = FROM
    else:
        at += ahead
        shift = at & (WIDTH - 1)
    piece = at >> BITS
    # All pieces of most tiles lie in the array.
    FARTHEST: tl.constexpr = BLOCK * STRIDE + PIECES * WIDTH + (BLOCK // OUTS) * max(GAP, 0)
    FIRST: tl.constexpr = WIDTH + BACK + (BLOCK // OUTS) * BACK
    if (left[0] >= FIRST) & (left[1] >= FARTHEST):
        words = load_words(source - ahead, piece, None, PIECES)
    else:
        before = (ahead + BACK - left[0]) - piece * WIDTH
        behind = (ahead + BACK + left[1]) - piece * WIDTH
        words = load_words(source - ahead, piece, (before, behind), PIECES)
    values = shifted(words, shift, FROM, COUNT, source.dtype.element_ty)

    ACC: tl.constexpr = values[0].dtype
    wall = lengths[1] - begin * STRIDE + (LEFT + BACK)  # the column, of those that are read, at which a row begins
    own = lengths[0] - begin  # outputs before it
    if BACKWARD and DIVISOR != "window":
        scaled = ()
        for each in tl.static_range(COUNT):
            behind = each - wall  # the wall; of the windows next to it on either side, PADDING columns do not count
            over = PADDING - (behind ^ (behind >> 31))
            scaled = scaled + (_divided(values[each], over, WINDOW, PADDING),)
        values = scaled
    REACHES_OVER: tl.constexpr = WINDOW - 1 - PADDING > 0 if BACKWARD else PADDING > 0 or DIVISOR != "window"
    if GAP == 0 and (IS_WHOLE or not REACHES_OVER):
        if REACHES_OVER:
            inside = bits_between(tl.where(own <= 0, wall, 0), tl.where(own <= 0, COUNT, wall), COUNT)
            kept = ()
            for each in tl.static_range(COUNT):
                kept = kept + (tl.where((inside & (1 << each)) != 0, values[each], 0.0),)
            values = kept
        sums = window_sums(values, OUTS, STRIDE, WINDOW)
    else:
        lefts = ()
        rights = ()
        for each in tl.static_range(SPAN):
            lefts = lefts + (values[BACK + each],)
            rights = rights + (values[BACK + GAP + each],)
        if REACHES_OVER:
            kept_lefts = ()
            kept_rights = ()
            for each in tl.static_range(SPAN):
                kept_lefts = kept_lefts + (tl.where(BACK + each < wall, lefts[each], 0.0),)
                kept_rights = kept_rights + (tl.where(BACK + GAP + each < wall, 0.0, rights[each]),)
            lefts = kept_lefts
            rights = kept_rights
        lefts = window_sums(lefts, OUTS, STRIDE, WINDOW)
        rights = window_sums(rights, OUTS, STRIDE, WINDOW)
        sums = ()
        for output in tl.static_range(OUTS):
            sums = sums + (tl.where(output < own, lefts[output], rights[output]),)

    COUNTED: tl.constexpr = 0 if DIVISOR == "row" else PADDING  # columns behind the wall that count
    means = ()
    for output in tl.static_range(OUTS):
        if DIVISOR == "window":
            mean = sums[output] * inverse(WINDOW, WINDOW, ACC)
        elif BACKWARD:
            mean = sums[output]
        else:
            # Columns that do not count lie behind the wall, or the padding behind it; in the next row before the wall.
            over = (BACK + output * STRIDE + WINDOW - COUNTED) - wall
            if DIVISOR == "row":
                over = tl.where(output < own, over, wall - (BACK + GAP + output * STRIDE))
            else:
                over = tl.where(output < own, over, 0)
            mean = _divided(sums[output], over, WINDOW, min(PADDING - COUNTED + STRIDE - 1, WINDOW - 1))
        means = means + (mean,)
    outputs = tile_of(means).to(target.dtype.element_ty)
    place = group[:, None] * OUTS + tl.arange(0, OUTS)[None, :]
    if (left[2] >= 0) & (left[3] >= BLOCK):
        tl.store(target + place, outputs)
    else:
        tl.store(target + place, outputs, mask=(place >= -left[2]) & (place < left[3]))


@triton.jit
def _divided(total, over, WINDOW: tl.constexpr, MOST: tl.constexpr):
    """Divide sums of windows of which `over` columns, at most MOST, do not count; none if it is less than 1."""
    if MOST <= 3:  # so many selections cost less than a division
        factor = inverse(WINDOW, WINDOW, total.dtype)
        for each in tl.static_range(1, MOST + 1):
            factor = tl.where(over == each, inverse(WINDOW - each, WINDOW - each, total.dtype), factor)
        return total * factor
    else:
        return total / (WINDOW - tl.maximum(over, 0)).to(total.dtype)
