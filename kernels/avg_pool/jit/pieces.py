"""Wide windows at stride 1, as sums of whole pieces that neighbouring threads share.

A group is what a thread writes at a time: WIDTH outputs, which fill 16 bytes. A piece is WIDTH columns of what is read;
that of a group begins where its first window does. Each window of a group is
- the end of the group's own piece, from the window's start,
- WHOLE pieces that all windows of the group hold, and the first REST columns of the next,
- the beginning of the piece that follows.
Each thread loads its own piece and the last one. What lies between comes from the other threads: sums of 4, 20, 100
and so on consecutive pieces, each from four or five of the sums before. If a window covers much of a tile, scans cost
less (van Herk 1992; Gil and Werman 1993). Nothing outside a window is ever added to its sum.

If rows aren't aligned, pieces are still read in 16 bytes: twice as many, of which selections take what is needed. All
groups of a row begin equally far from an aligned address. A tile holds one row or a part of it, or several short rows.
If every second column is one of the row, pieces hold half as many; columns further apart are read one by one.

An output of 2 bytes costs about 8 instructions for its pieces, 5 more if rows aren't aligned, and 2 for each exchange,
of which a window has about log5(WHOLE) + 1; one of 4 bytes costs 10, 7 and 4. Chosen for windows over about 32. If
columns lie apart it serves windows of fewer than three pieces too: each thread reads and sums its own.
"""

import triton
import triton.language as tl

from .loaded_pieces import (
    GROUPS_IN_CHAIN,
    IS_DIVIDED,
    PRECISION,
    RULE,
    SHIFT_IF_FIXED,
    SIZE_OF_WINDOW,
    piece_of,
    reciprocals_of,
)
from .piece_sums import added_by_scans, chained, total_of
from .registers import tile_of, window_sums
from .tiles import blocks, inverse


@triton.jit
def pool_by_pieces(
    source,  # [batch, rows, read_length], with the strides below, in elements
    target,  # [batch, rows, written_length]; the stride of columns is 1
    rows,
    read_length,
    written_length,
    length,  # of a row of x: read_length forward, written_length backward
    source_batch_stride,
    source_row_stride,
    source_col_stride,
    target_batch_stride,
    target_row_stride,
    WINDOW: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    BACKWARD: tl.constexpr,
    ALIGNED: tl.constexpr,  # 1 if rows of source begin and end at multiples of 16 bytes, -1 if its columns lie so far
    # apart that they are read one by one, else 0
    WHOLE: tl.constexpr,  # rows of target begin and end at multiples of 16 bytes
    WIDE: tl.constexpr,  # places in a row need 64 bits
    GAP: tl.constexpr,  # elements between two columns, if ALIGNED is not -1
    MARGIN: tl.constexpr,  # how much of a row the last tile but one leaves, or 0 if any tile may hold both its ends
    SHORT: tl.constexpr,  # a tile holds rows with their padding, and at least one piece after each
    BLOCK_OUT: tl.constexpr,  # columns of the own pieces of a row's groups
    ROWS_PER_PROG: tl.constexpr,  # if SHORT
):
    """target[b, r, o] = the mean of source[b, r, o - PADDING :][:WINDOW], or its gradient."""
    ACC: tl.constexpr = tl.float64 if source.dtype.element_ty == tl.float64 else tl.float32
    LEFT: tl.constexpr = WINDOW - 1 - PADDING if BACKWARD else PADDING
    SIZE: tl.constexpr = source.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    STEP: tl.constexpr = GAP + 1
    ROWS: tl.constexpr = ROWS_PER_PROG if SHORT else 1
    OF_ROW: tl.constexpr = BLOCK_OUT // WIDTH
    GROUPS: tl.constexpr = OF_ROW * ROWS
    # Groups that need sums of later tiles get no outputs here; if they were too many, no sums of others are shared.
    HALO: tl.constexpr = (WINDOW - 1) // WIDTH
    CHAIN: tl.constexpr = OF_ROW if SHORT or 3 * HALO <= GROUPS else 0
    # Tiles of long rows are written from lines of memory on.
    LINE: tl.constexpr = 8 if GROUPS >= 32 and not SHORT else 1  # groups
    IS_SHARED: tl.constexpr = CHAIN > 0 and not SHORT and WINDOW >= 3 * WIDTH
    WRITTEN: tl.constexpr = (GROUPS - HALO) // LINE * LINE if IS_SHARED else GROUPS
    SCALED: tl.constexpr = BACKWARD and DIVISOR != "window"
    OUT: tl.constexpr = WRITTEN * WIDTH
    SLACK: tl.constexpr = LINE * WIDTH - 1
    PLACES: tl.constexpr = tl.int64 if WIDE else tl.int32
    read_length = tl.cast(read_length, PLACES)
    written_length = tl.cast(written_length, PLACES)
    length = tl.cast(length, PLACES)
    # Divisions of unsigned numbers are cheaper.
    tiles = tl.full((), 1, tl.uint32)
    if not SHORT:
        tiles = blocks((written_length + SLACK).to(tl.uint64 if WIDE else tl.uint32), OUT).to(tl.uint32)
    program = tl.program_id(0).to(tl.uint32)
    block = program // tiles
    tile = (program - block * tiles).to(PLACES)
    of_batch = blocks(tl.cast(rows, tl.uint32), ROWS)
    if block >= of_batch:  # mostly false, and cheaper than the division and products of 64 bits
        batch = block // of_batch
        block -= batch * of_batch
        source += batch.to(tl.int64) * source_batch_stride
        target += batch.to(tl.int64) * target_batch_stride
    row = block.to(tl.int64) * ROWS
    source_row = source + row * source_row_stride
    target_row = target + row * target_row_stride
    index = tl.arange(0, GROUPS)
    group = index
    if ROWS > 1:  # all that depends on a row is a number for each group; rows beyond the last are the last
        group = index % OF_ROW
        ahead = tl.minimum(index // OF_ROW, (rows - row).to(tl.int32) - 1).to(tl.int64)
        source_row = source_row + ahead * source_row_stride
        target_row = target_row + ahead * target_row_stride
    origin = tl.full((), 0, PLACES)
    if not WHOLE or LINE > 1:  # tiles begin where stores are aligned
        origin = origin - _misalignment(target_row, LINE * WIDTH)
    first = origin if SHORT else origin + tile * OUT
    count = GROUPS
    if MARGIN > 0:
        # The last tile ends with the row, in its last line, and no other one reads or counts that end. No output is
        # written twice, because two tiles may round it differently.
        last = ((written_length - origin - OUT + SLACK) & -(SLACK + 1)) + origin
        left = tiles.to(PLACES) - tile
        after = tl.where(left == 2, last, tl.minimum(first + OUT, last - MARGIN))
        first = tl.where(left == 1, last, tl.minimum(first, last - MARGIN))
        count = (after - first).to(tl.int32) // WIDTH
    start = first - LEFT
    IS_FIXED: tl.constexpr = ALIGNED == 1 and WHOLE
    FIXED: tl.constexpr = -LEFT * STEP % WIDTH if IS_FIXED else min(ALIGNED, 0) - 1  # see SHIFT_IF_FIXED
    if ALIGNED < 0:
        shift = source_col_stride
        edge = source_row + start.to(tl.int64) * source_col_stride
    else:
        shift = FIXED if IS_FIXED else _misalignment(source_row + start * STEP, WIDTH)
        edge = tl.multiple_of(source_row + (start * STEP - shift), 16)
    targets = (tl.multiple_of(target_row + first, 16) + group * WIDTH)[:, None] + tl.arange(0, WIDTH)[None, :]

    END: tl.constexpr = max(OUT + WINDOW, BLOCK_OUT) + WIDTH  # of what a tile reads
    if SHORT:
        is_before_end = False
        inside = False
    else:
        is_before_end = (first + OUT <= written_length) & (start + END <= read_length)
        inside = (first >= 0) & (start >= (FIXED if IS_FIXED else WIDTH - 1))
        if SCALED:  # no window that is read is cut by an end of the row
            is_before_end &= start + (END + WINDOW - PADDING) <= length
            inside &= start >= PADDING
        inside &= is_before_end
    if inside:
        POOLING: tl.constexpr = (FIXED, False, False, WINDOW, PADDING, "window", ACC, CHAIN, STEP)
        means = tile_of(_means(edge, shift, group, WRITTEN, None, POOLING)).to(target.dtype.element_ty)
        tl.store(targets, means, mask=((index < WRITTEN) & (index < count))[:, None])
    else:
        # Places are counted from the first window or output of a tile; none matters beyond REACH. If they are constants
        # or lie between two, the compiler knows that most groups have no end of a row in them.
        REACH: tl.constexpr = 2 * (BLOCK_OUT + WINDOW + WIDTH)
        BEHIND: tl.constexpr = WINDOW - 1 - LEFT  # columns that the last window holds after its own place
        OF_X: tl.constexpr = LEFT if BACKWARD else BEHIND
        low = _cut(-start, -REACH, LEFT + SLACK)
        begin = _cut(-first, 0, SLACK)
        AT_EDGES: tl.constexpr = (FIXED, ALIGNED == 0, SCALED, WINDOW, PADDING, DIVISOR, ACC, CHAIN, STEP)
        if MARGIN == 0:
            stop = _cut(written_length - first, -REACH, REACH)
            bounds = (low, stop + BEHIND, stop + OF_X)
            _write_at_edges(targets, edge, shift, index, group, begin, stop, count, bounds, WRITTEN, WHOLE, AT_EDGES)
        elif is_before_end:
            bounds = (low, REACH, REACH)
            _write_at_edges(targets, edge, shift, index, group, begin, OUT, count, bounds, WRITTEN, WHOLE, AT_EDGES)
        else:
            stop = _cut(written_length - first, OUT - SLACK, OUT)
            bounds = (-REACH, stop + BEHIND, stop + OF_X)
            _write_at_edges(targets, edge, shift, index, group, 0, stop, GROUPS, bounds, WRITTEN, WHOLE, AT_EDGES)


@triton.jit
def _write_at_edges(targets, edge, shift, index, group, begin, stop, count, bounds, WRITTEN: tl.constexpr,
                    WHOLE: tl.constexpr, POOLING: tl.constexpr):  # fmt: skip
    """Write what the first `count` groups have of a row's outputs, which are those from `begin` to `stop`.

    See `piece_of` for the rest.
    """
    WIDTH: tl.constexpr = targets.shape[1]
    means = tile_of(_means(edge, shift, group, WRITTEN, bounds, POOLING)).to(targets.dtype.element_ty)
    begin = (begin - group * WIDTH)[:, None]
    stop = (tl.minimum(stop, WRITTEN * WIDTH) - group * WIDTH)[:, None]
    # The compiler drops what is never WRITTEN.
    stop = tl.where(((index < WRITTEN) & (index < count))[:, None], stop, 0)
    if WHOLE:
        tl.store(targets, means, mask=(begin <= 0) & (stop > 0))
    else:  # whole groups, and what the row's ends leave of others
        is_whole = (begin <= 0) & (stop >= WIDTH)
        tl.store(targets, means, mask=is_whole)
        lane = tl.arange(0, WIDTH)[None, :]
        tl.store(targets, means, mask=(lane >= begin) & (lane < tl.where(is_whole, 0, stop)))


@triton.jit
def _cut(place, LEAST: tl.constexpr, MOST: tl.constexpr):
    """Return a place in a row, or LEAST or MOST if it is further away, in 32 bits."""
    return tl.minimum(tl.maximum(place, LEAST), MOST).to(tl.int32)


@triton.jit
def _misalignment(pointer, COUNT: tl.constexpr):
    """Count the elements between the last address that is a multiple of COUNT elements, and an address."""
    SIZE: tl.constexpr = pointer.dtype.element_ty.primitive_bitwidth // 8
    return (pointer.to(tl.int64).to(tl.uint32) // SIZE % COUNT).to(tl.int32)


@triton.jit
def _means(edge, shift, index, WRITTEN: tl.constexpr, bounds, POOLING: tl.constexpr):
    """Return the means of each group's windows as a tuple of columns [GROUPS]; those of groups not WRITTEN are void.

    See `piece_of` for `index`. Windows of fewer than three pieces are summed by each thread.
    """
    WINDOW: tl.constexpr = POOLING[SIZE_OF_WINDOW]
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    if WINDOW >= 3 * WIDTH:
        return _means_of_shared(edge, shift, index, WRITTEN, bounds, POOLING)
    else:
        columns = piece_of(edge, shift, 0, WIDTH + WINDOW - 1, index, None, bounds, POOLING)
        sums = window_sums(columns, WIDTH, 1, WINDOW)
        means = ()
        if POOLING[IS_DIVIDED]:
            means = sums
        else:
            factors = reciprocals_of(index * WIDTH, WIDTH, bounds, POOLING)
            for each in tl.static_range(WIDTH):
                means = means + (sums[each] * factors[each],)
        return means


@triton.jit
def _means_of_shared(edge, shift, index, WRITTEN: tl.constexpr, bounds, POOLING: tl.constexpr):
    """Return the same of windows with pieces that threads share."""
    WINDOW: tl.constexpr = POOLING[SIZE_OF_WINDOW]
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    # Of a window that is longer than the tile, which then holds the row, the pieces in the tile.
    GROUPS: tl.constexpr = index.shape[0]
    IN_ROW: tl.constexpr = POOLING[GROUPS_IN_CHAIN] if POOLING[GROUPS_IN_CHAIN] > 0 else GROUPS
    WHOLE: tl.constexpr = min(WINDOW // WIDTH - 1, IN_ROW)
    REST: tl.constexpr = WINDOW % WIDTH if WHOLE < IN_ROW else 0
    wanted = None if WRITTEN == GROUPS else index < WRITTEN
    own = piece_of(edge, shift, 0, WIDTH, index, None, bounds, POOLING)
    # Where the rest's columns cost no more selections, they are read with what follows them, and not exchanged.
    IN_ENDS: tl.constexpr = REST if POOLING[GROUPS_IN_CHAIN] > 0 and POOLING[SHIFT_IF_FIXED] >= 0 else 0
    ends = piece_of(edge, shift, WINDOW - IN_ENDS, IN_ENDS + WIDTH - 1, index, wanted, bounds, POOLING)
    total = own[WIDTH - 1]
    suffixes = (total,)
    for back in tl.static_range(2, WIDTH + 1):
        total = own[WIDTH - back] + total
        suffixes = (total,) + suffixes
    if POOLING[GROUPS_IN_CHAIN] > 0:
        rest = total_of(own, max(REST, 1))
        between = chained(total, rest, WHOLE, 1, REST > IN_ENDS, 0, IN_ROW)
        if IN_ENDS > 0:
            between += total_of(ends, IN_ENDS)
    else:
        between = added_by_scans(edge, shift, total, bounds, POOLING)
    # A mean is (suffix + between) / divisor.
    means = ()
    if POOLING[RULE] == "window":
        factor = inverse(WINDOW, WINDOW, POOLING[PRECISION])
        between *= factor
        for ahead in tl.static_range(WIDTH):
            if ahead > 0:
                between = tl.fma(ends[IN_ENDS + ahead - 1], factor, between)
            means = means + (tl.fma(suffixes[ahead], factor, between),)
    else:
        factors = ()
        if not POOLING[IS_DIVIDED]:
            factors = reciprocals_of(index * WIDTH, WIDTH, bounds, POOLING)
        for ahead in tl.static_range(WIDTH):
            if ahead > 0:
                between += ends[IN_ENDS + ahead - 1]
            mean = suffixes[ahead] + between
            if not POOLING[IS_DIVIDED]:
                mean *= factors[ahead]
            means = means + (mean,)
    return means
