"""Loading pieces of 16 bytes, one for each group of a tile, of rows that begin and end anywhere.

All tiles are [groups] or [groups, WIDTH], each of whose rows lies in one thread. See `pieces.py`.
"""

import triton
import triton.language as tl

from .registers import columns_of
from .shifted import load_words, shifted
from .tiles import inverse, reciprocal

# The places of POOLING, a tuple of constants that says how pieces are read and what windows are.
SHIFT_IF_FIXED = tl.constexpr(0)  # `shift` if it is a constant, -1 if not, -2 if it is the distance of columns
IS_CUT = tl.constexpr(1)  # whether a row may end within an aligned piece
IS_DIVIDED = tl.constexpr(2)  # whether each column that is read is divided as its window was
SIZE_OF_WINDOW = tl.constexpr(3)
PADDING_BEFORE = tl.constexpr(4)
RULE = tl.constexpr(5)  # see `tiles.divisor`
PRECISION = tl.constexpr(6)  # a dtype
# How many groups a row has, if the pieces after a group's own are added by `chained`; 0 if by `added_by_scans`.
GROUPS_IN_CHAIN = tl.constexpr(7)
STEP_IN_PIECES = tl.constexpr(8)  # elements from a column to the next in pieces, of which the first is a column


@triton.jit
def piece_of(edge, shift, AHEAD: tl.constexpr, COUNT: tl.constexpr, index, wanted, bounds,
             POOLING: tl.constexpr):  # fmt: skip
    """Return the first COUNT columns of a piece of each group, in the accumulator's precision.

    `index` numbers the groups of a row. If there are several rows, what follows is one number for each group.
    The tile begins `shift` columns after `edge`, an aligned address; the piece of group g lies g * WIDTH + AHEAD after
    that. (If columns lie apart, `shift` is how far, and the tile begins at `edge`.) In the same count, `bounds` are
    where the row of the source begins and ends, and where the row of x ends. What lies outside the
    row is 0. Without bounds, nothing is masked or divided. Groups that are not `wanted` load nothing.
    """
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    column = index * WIDTH + AHEAD
    if POOLING[SHIFT_IF_FIXED] == -2:
        columns = ()
        for each in tl.static_range(0, COUNT, WIDTH):
            columns = columns + _columns_apart(edge, shift, column + each, wanted, bounds, POOLING)
    else:
        columns = _columns_together(edge, shift, AHEAD, COUNT, index, wanted, bounds, POOLING)
    if bounds is not None and POOLING[IS_DIVIDED]:
        factors = reciprocals_of(column - POOLING[PADDING_BEFORE], COUNT, bounds, POOLING)
        divided = ()
        for each in tl.static_range(COUNT):
            divided = divided + (columns[each] * factors[each],)
        columns = divided
    return columns


@triton.jit
def _columns_apart(edge, distance, column, wanted, bounds, POOLING: tl.constexpr):
    """Return the columns of pieces that begin at `column`, `distance` elements from each other, read one by one."""
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    sources = (edge + column.to(tl.int64) * distance)[:, None]
    sources += tl.arange(0, WIDTH)[None, :].to(tl.int64) * distance
    if bounds is not None:
        at = tl.arange(0, WIDTH)[None, :]
        inside = (at >= (bounds[0] - column)[:, None]) & (at < (bounds[1] - column)[:, None])
        if wanted is not None:
            inside = inside & wanted[:, None]
        piece = tl.load(sources, mask=inside, other=0.0)
    elif wanted is not None:
        piece = tl.load(sources, mask=wanted[:, None], other=0.0)
    else:
        piece = tl.load(sources)
    return columns_of(piece.to(POOLING[PRECISION]))


@triton.jit
def _columns_together(edge, shift, AHEAD: tl.constexpr, COUNT: tl.constexpr, index, wanted, bounds,
                      POOLING: tl.constexpr):  # fmt: skip
    """Return COUNT columns of the piece of each group `index`, by 16-byte loads."""
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    SHIFT: tl.constexpr = POOLING[SHIFT_IF_FIXED]
    STEP: tl.constexpr = POOLING[STEP_IN_PIECES]
    SPAN: tl.constexpr = (COUNT - 1) * STEP + 1  # elements
    if SHIFT >= 0:
        FROM: tl.constexpr = (SHIFT + AHEAD * STEP) % WIDTH
        PIECES: tl.constexpr = (FROM + SPAN + WIDTH - 1) // WIDTH
        begin = FROM
    else:
        FROM: tl.constexpr = -1
        PIECES: tl.constexpr = (SPAN + 2 * WIDTH - 2) // WIDTH
        begin = (shift + AHEAD * STEP) % WIDTH
    if bounds is not None:
        # Where the row begins and ends, counted from each piece, and from the aligned one in which that begins.
        low = bounds[0] - AHEAD - index * WIDTH
        high = bounds[1] - AHEAD - index * WIDTH
        end = high * STEP - (STEP - 1) + begin
        limits = (low * STEP + begin, end if wanted is None else tl.where(wanted, end, 0))
    else:
        limits = None if wanted is None else (index * 0, tl.where(wanted, PIECES * WIDTH, 0))
    words = load_words(edge + (shift + AHEAD * STEP - begin), index * STEP, limits, PIECES)
    elements = shifted(words, begin, FROM, SPAN, edge.dtype.element_ty)
    columns = ()
    for each in tl.static_range(COUNT):
        columns = columns + (elements[each * STEP],)
    if bounds is not None and POOLING[IS_CUT]:
        inside = ()
        for each in tl.static_range(COUNT):
            inside = inside + (tl.where((low <= each) & (high > each), columns[each], 0.0),)
        columns = inside
    return columns


@triton.jit
def reciprocals_of(start, COUNT: tl.constexpr, bounds, POOLING: tl.constexpr):
    """Return 1 / what COUNT windows, the first of which begin at the columns `start`, are divided by, as a tuple.

    `bounds` are those of `piece_of`. At stride 1 no window ends after the padding: either each counts its whole size,
    or what it has of the row. That is at least WINDOW - PADDING_BEFORE, unless nothing wants the window.
    """
    WINDOW: tl.constexpr = POOLING[SIZE_OF_WINDOW]
    factors = ()
    if POOLING[RULE] == "row":
        low, _, end = bounds
        most = tl.minimum(end - low, WINDOW)
        # What the row's beginning and its end leave of the first window.
        from_left = start + (WINDOW - low)
        from_right = end - start
        for each in tl.static_range(COUNT):
            count = tl.minimum(tl.minimum(from_left + each, most), from_right - each)
            factors = factors + (reciprocal(count, POOLING[PRECISION]),)
    else:
        for _ in tl.static_range(COUNT):
            factors = factors + (inverse(WINDOW, WINDOW, POOLING[PRECISION]),)
    return factors
