"""Window sums over 16-byte pieces of rows: in a thread's own registers, or by scans over neighbouring threads.

A group is what a thread writes at a time: WIDTH outputs, which fill 16 bytes. Its windows begin in its piece 0; a piece
lies WIDTH columns after the one before. All tiles are [groups of all rows, WIDTH] or [groups of all rows].
"""

import triton
import triton.language as tl

from .registers import columns_of, window_sums
from .tiles import divisor

# The places of POOLING, a tuple of constants that says how pieces are read and what windows are.
IS_SCALED = tl.constexpr(0)  # whether each column that is read is divided as its window was
KERNEL_SIZE = tl.constexpr(1)
LEFT_PADDING = tl.constexpr(2)
DIVISOR_RULE = tl.constexpr(3)  # see `tiles.divisor`
ACCUMULATOR = tl.constexpr(4)  # a dtype


@triton.jit
def load_piece(sources, at, held, bounds, PIECE: tl.constexpr, POOLING: tl.constexpr):
    """Load a piece of each group, in the accumulator's precision.

    `sources` points to piece 0, whose columns are `at` (of an aligned tile the first of them is enough, since a piece
    then lies in its row as a whole or not at all), counted from where the tile's first window begins. In the same
    count, `bounds` are where the row of `sources` begins and ends, and where the row of x and its right padding end.
    What lies outside the row, or in a group that is not `held`, is 0. Without bounds, nothing is masked or scaled.
    """
    ahead: tl.constexpr = PIECE * sources.shape[1]
    if bounds is None:
        return tl.load(sources + ahead).to(POOLING[ACCUMULATOR])
    else:
        low, high, end, padded_end = bounds
        column = at + ahead
        inside = held & (column >= low) & (column < high)
        piece = tl.load(sources + ahead, mask=inside, other=0.0).to(POOLING[ACCUMULATOR])
        if POOLING[IS_SCALED]:  # window `column` of x begins `padding` to the left of that column
            column = ahead + (at if at.shape[1] > 1 else at + tl.arange(0, sources.shape[1])[None, :])
            start = column - POOLING[LEFT_PADDING]
            count = divisor(start, POOLING[KERNEL_SIZE], low, end, padded_end, POOLING[DIVISOR_RULE])
            piece /= count.to(POOLING[ACCUMULATOR])
        return piece


@triton.jit
def sums_in_registers(sources, at, held, bounds, SHIFT: tl.constexpr, STRIDE: tl.constexpr, POOLING: tl.constexpr):
    """Return the sums of each group's WIDTH windows as a tuple; the first begins SHIFT columns into piece 0."""
    WIDTH: tl.constexpr = sources.shape[1]
    SPAN: tl.constexpr = (WIDTH - 1) * STRIDE + POOLING[KERNEL_SIZE]  # columns that a group's windows cover
    pieces = ()
    for piece in tl.static_range((SHIFT + SPAN + WIDTH - 1) // WIDTH):
        pieces = pieces + columns_of(load_piece(sources, at, held, bounds, piece, POOLING))
    columns = ()
    for column in tl.static_range(SPAN):
        columns = columns + (pieces[SHIFT + column],)
    return window_sums(columns, WIDTH, STRIDE, POOLING[KERNEL_SIZE])


@triton.jit
def sums_by_scans(sources, at, held, bounds, SHIFT: tl.constexpr, GROUPS: tl.constexpr, POOLING: tl.constexpr):
    """Return `sums_in_registers` of wide windows at stride 1, most of whose pieces neighbouring groups share.

    After van Herk (1992) and Gil and Werman (1993), on whole pieces: those of a window are a suffix of its block of
    SHARING pieces, a core that the block's windows share, and a prefix of what follows. Prefix and suffix are scanned,
    so that the cost of an output hardly grows with its window, and nothing outside a window is ever added.
    """
    WIDTH: tl.constexpr = sources.shape[1]
    ALL: tl.constexpr = sources.shape[0]
    HEADS: tl.constexpr = (SHIFT + WIDTH - 1) // WIDTH + 1  # pieces that some window begins in
    END: tl.constexpr = (SHIFT + POOLING[KERNEL_SIZE]) // WIDTH  # the piece that the first window ends in
    REST: tl.constexpr = SHIFT + POOLING[KERNEL_SIZE] - END * WIDTH  # its columns in that piece
    WHOLE: tl.constexpr = END - HEADS  # pieces that all windows of a group hold
    SHARING: tl.constexpr = min(GROUPS, triton.next_power_of_2(WHOLE + 1) // 2)
    CORE: tl.constexpr = WHOLE - SHARING
    heads = ()
    for piece in tl.static_range(HEADS):
        heads = heads + columns_of(load_piece(sources, at, held, bounds, piece, POOLING))
    tails = ()
    for piece in tl.static_range((REST + 2 * WIDTH - 2) // WIDTH):
        tails = tails + columns_of(load_piece(sources, at, held, bounds, END + piece, POOLING))

    within = tl.arange(0, ALL) % SHARING
    suffix = tl.sum(load_piece(sources, at, held, bounds, HEADS, POOLING), axis=1)
    suffix = tl.cumsum(tl.reshape(suffix, (ALL // SHARING, SHARING)), axis=1, reverse=True)
    prefix = tl.sum(load_piece(sources, at, held, bounds, END - 1, POOLING), axis=1)
    prefix = tl.where(within > 0, prefix, 0.0)  # the first group has none of the pieces that follow
    prefix = tl.cumsum(tl.reshape(prefix, (ALL // SHARING, SHARING)), axis=1)
    between = suffix + prefix
    if CORE > 0:
        core = tl.zeros((ALL,), POOLING[ACCUMULATOR])
        for turn in tl.static_range((CORE + SHARING - 1) // SHARING):
            # Each group of the block adds one piece.
            mine = held & (within + turn * SHARING < CORE)[:, None]
            core += tl.sum(_load_some(sources, at, mine, bounds, HEADS + SHARING * (turn + 1), POOLING), axis=1)
        core = tl.sum(tl.reshape(core, (ALL // SHARING, SHARING)), axis=1)
        between += core[:, None]
    between = tl.reshape(between, (ALL,))

    total = heads[SHIFT + WIDTH - 1]
    for column in tl.static_range(SHIFT + WIDTH, HEADS * WIDTH):
        total += heads[column]
    suffixes = (total,)
    for back in tl.static_range(2, WIDTH + 1):
        total = heads[SHIFT + WIDTH - back] + total
        suffixes = (total,) + suffixes
    for column in tl.static_range(REST):
        between += tails[column]
    sums = (suffixes[0] + between,)
    for ahead in tl.static_range(1, WIDTH):
        between += tails[REST + ahead - 1]
        sums = sums + (suffixes[ahead] + between,)
    return sums


@triton.jit
def _load_some(sources, at, held, bounds, PIECE: tl.constexpr, POOLING: tl.constexpr):
    """Load a piece of the groups that are `held`, also without bounds."""
    if bounds is not None:
        return load_piece(sources, at, held, bounds, PIECE, POOLING)
    else:
        return tl.load(sources + PIECE * sources.shape[1], mask=held, other=0.0).to(POOLING[ACCUMULATOR])
