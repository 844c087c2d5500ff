"""Tiles of `vectors.py` in which rows end, of rows that are much longer than groups.

Most groups of such a tile have no end of a row next to them: they are written without a mask for each of their columns
or outputs, as if the tile lay inside a row, but each from its own row. The few others follow: each row has the same
number of them at its begin and at its end, so that one group for each thread is enough. Where a row ends within a
group, each of the two rows writes its own outputs.
"""

import triton
import triton.language as tl

from .registers import tile_of, window_sums
from .row_ends import pool_row_groups
from .shifted import load_words, place_in, shifted
from .tiles import divided, inverse


@triton.jit
def pool_ends_apart(
    source,
    target,
    column,  # of the first output in its row
    pitch,  # of rows of the target, and its reciprocal for `divided`
    left,  # 1 if the tile begins before the first row, else 0; the rows left from that on in which it begins
    to_next_row,  # elements that a group of the next row is read further on than one of the same row
    lengths,  # of rows that are written, that are read, and of x
    inside,  # whether no group sees an end
    SHIFT: tl.constexpr,
    LEFT: tl.constexpr,
    HEAD: tl.constexpr,  # outputs of a row that may see its begin
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    OUTS: tl.constexpr,
    PIECES: tl.constexpr,
    BLOCK: tl.constexpr,
    GROUPS_OF_THREAD: tl.constexpr,
):
    """Write a tile in which rows end, or windows reach over their ends, from its first window and output on."""
    GROUPS: tl.constexpr = BLOCK // OUTS
    BITS: tl.constexpr = OUTS // 2 - OUTS // 8  # OUTS, 8 at most, is 2 to the power of it
    ITEMS: tl.constexpr = max(GROUPS // GROUPS_OF_THREAD, 1)
    SPAN: tl.constexpr = (OUTS - 1) * STRIDE + WINDOW
    IS_CUT: tl.constexpr = BACKWARD and DIVISOR != "window"
    # The last column at which a group may begin that sees no end.
    last = tl.minimum(lengths[0] - OUTS, (lengths[1] + (LEFT - SPAN)) // STRIDE)
    if IS_CUT:  # no window that is read is cut by the end of the row
        last = tl.minimum(last, lengths[2] - (OUTS - 2 + 2 * WINDOW - PADDING - LEFT))
    # Rows beyond the tile do not matter.
    behind = tl.minimum(left[1], BLOCK).to(tl.uint32) * pitch[0]
    row_stride = to_next_row + lengths[0] * STRIDE
    PART: tl.constexpr = min((4 if PIECES <= 3 else 2) * ITEMS, GROUPS)  # as many loads in flight as registers allow
    if left[1] > 0:  # the last tile may begin behind the array, where there is nothing to read
        for first in tl.range(0, GROUPS, PART, num_stages=1):
            _pool_seeing_no_end(
                source, target, first, column, pitch, left[0], behind, row_stride, last,
                SHIFT, HEAD, WINDOW, STRIDE, OUTS, PIECES, IS_WHOLE, PART,
            )  # fmt: skip

    # How many groups of a row, at most, begin before its output HEAD, and behind the column `last`.
    BEHIND: tl.constexpr = (
        OUTS
        - 1
        + (WINDOW - 1 if IS_CUT else WINDOW - 1 - PADDING if BACKWARD else (PADDING + 2 * STRIDE - 2) // STRIDE)
    )
    ALIGNED_BY: tl.constexpr = 0 if IS_WHOLE else OUTS - 1
    FIRST: tl.constexpr = (HEAD + ALIGNED_BY + OUTS - 1) // OUTS
    EACH: tl.constexpr = FIRST + (BEHIND - (OUTS - 1) + ALIGNED_BY + OUTS - 1) // OUTS
    if EACH > 0:
        end = (column + (BLOCK - 1)).to(tl.uint32) // pitch[0]
        rows = tl.where(inside, 0, tl.minimum(end.to(tl.int32) + 1, left[1]))
        for first in tl.range(left[0] * EACH, rows * EACH, ITEMS, num_stages=1):
            item = first + tl.arange(0, ITEMS)
            row = (item.to(tl.uint32) // EACH).to(tl.int32)
            nth = item - row * EACH
            start = row * lengths[0] - column  # of the row, in the tile
            ahead = (start >> BITS) + nth
            back = ((start + (lengths[0] - 1)) >> BITS) - (nth - FIRST)
            group = tl.where(nth < FIRST, ahead, back)
            begin = group * OUTS - start
            held = (row < rows) & (group.to(tl.uint32) < GROUPS) & ((begin < HEAD) | (begin > last))
            at = row * to_next_row + group * (OUTS * STRIDE)
            pool_row_groups(
                source, target, at, group * OUTS, begin, held, lengths,
                SHIFT, LEFT, WINDOW, STRIDE, PADDING, DIVISOR, BACKWARD, IS_WHOLE, 0, OUTS, PIECES,
            )  # fmt: skip


@triton.jit
def _pool_seeing_no_end(
    source,
    target,
    first,  # of its groups
    column,
    pitch,
    before,
    behind,  # in positions counted from the row in which the tile begins: where the last row ends
    row_stride,
    last,
    SHIFT: tl.constexpr,
    HEAD: tl.constexpr,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    OUTS: tl.constexpr,
    PIECES: tl.constexpr,
    IS_WHOLE: tl.constexpr,
    COUNT: tl.constexpr,
):
    """Of COUNT groups, write those that begin from a row's column HEAD to the column `last`."""
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    BITS: tl.constexpr = 4 // SIZE + 1  # WIDTH is 2 to the power of it
    SPAN: tl.constexpr = (OUTS - 1) * STRIDE + WINDOW
    group = first + tl.arange(0, COUNT)
    # What is not written is computed too, of places where something can be read.
    position = (column + group * OUTS).to(tl.uint32)
    row, begin = divided(tl.minimum(position, behind - 1), pitch[0], pitch[1])
    sees_none = (begin - HEAD) <= (last - HEAD).to(tl.uint32)
    near = tl.where(sees_none, begin, HEAD)  # far from the end of the array: the last piece exists
    held = sees_none & (position < behind)
    row = row.to(tl.int32) if IS_WHOLE else tl.maximum(row.to(tl.int32), before)
    ahead = SHIFT if SHIFT >= 0 else place_in(source, WIDTH)
    at = row * row_stride + near.to(tl.int32) * STRIDE + (ahead - column * STRIDE)
    shift = SHIFT if SHIFT >= 0 else (at & (WIDTH - 1)).to(tl.int32)
    if SHIFT >= 0 or (SPAN + WIDTH - 1) // WIDTH == PIECES:
        words = load_words(source - ahead, at >> BITS, None, PIECES)
    else:
        words = load_words(source - ahead, at >> BITS, (shift + SPAN,), PIECES)
    values = shifted(words, shift, SHIFT, SPAN, source.dtype.element_ty)
    sums = window_sums(values, OUTS, STRIDE, WINDOW)
    means = ()
    for output in tl.static_range(OUTS):
        means = means + (sums[output] * inverse(WINDOW, WINDOW, values[0].dtype),)
    outputs = tile_of(means).to(target.dtype.element_ty)
    lane = tl.arange(0, OUTS)[None, :]
    tl.store(target + (group[:, None] * OUTS + lane), outputs, mask=held[:, None])
