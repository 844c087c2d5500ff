"""Work in a thread's own registers: split a tile into columns, join columns, and sum neighbouring windows.

A tile [GROUPS, WIDTH], each of whose rows lies in one thread (as a 16-byte access does), is split into WIDTH columns
[GROUPS], so that a window that slides over a group's columns needs no memory access and no exchange between threads.
Nothing outside a window is ever added to its sum, so that nothing has to be subtracted again.
"""

import triton
import triton.language as tl


@triton.jit
def columns_of(tile):
    """Split a tile [GROUPS, a power of two] into a tuple of columns [GROUPS]."""
    GROUPS: tl.constexpr = tile.shape[0]
    WIDTH: tl.constexpr = tile.shape[1]
    if WIDTH == 1:
        return (tl.reshape(tile, (GROUPS,)),)
    elif WIDTH == 2:
        first, second = tl.split(tile)
        return (first, second)
    else:
        even, odd = tl.split(tl.reshape(tile, (GROUPS, WIDTH // 2, 2)))
        evens = columns_of(even)
        odds = columns_of(odd)
        columns = ()
        for pair in tl.static_range(WIDTH // 2):
            columns = columns + (evens[pair], odds[pair])
        return columns


@triton.jit
def tile_of(columns):
    """Join a tuple of a power of two of columns [GROUPS] into a tile, the reverse of `columns_of`."""
    GROUPS: tl.constexpr = columns[0].shape[0]
    WIDTH: tl.constexpr = len(columns)
    if WIDTH == 1:
        return tl.reshape(columns[0], (GROUPS, 1))
    elif WIDTH == 2:
        return tl.join(columns[0], columns[1])
    else:
        evens = ()
        odds = ()
        for pair in tl.static_range(WIDTH // 2):
            evens = evens + (columns[2 * pair],)
            odds = odds + (columns[2 * pair + 1],)
        return tl.reshape(tl.join(tile_of(evens), tile_of(odds)), (GROUPS, WIDTH))


@triton.jit
def rounded(columns, dtype: tl.constexpr):
    """Join columns of sums into a tile of that type."""
    return tile_of(columns).to(dtype)  # neighbours are rounded in pairs


@triton.jit
def behind_walls(columns, firsts, wall, GRAIN: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr,
                 PADDING: tl.constexpr):  # fmt: skip
    """Replace each group's columns from `wall` on by the `firsts` of a row, the totals of its first columns.

    A wall is at a multiple of GRAIN columns, at one or more. Totals change only where a window begins or ends.
    """
    replaced = ()
    for column in tl.static_range(len(columns)):
        total = columns[column]
        for index in tl.static_range(column % GRAIN, column - GRAIN + 1, GRAIN):
            total = _behind_wall(total, firsts, wall <= column - index, index, GRAIN, WINDOW, STRIDE, PADDING)
        replaced = replaced + (total,)
    return replaced


@triton.jit
def _behind_wall(total, firsts, is_behind, INDEX: tl.constexpr, GRAIN: tl.constexpr, WINDOW: tl.constexpr,
                 STRIDE: tl.constexpr, PADDING: tl.constexpr):  # fmt: skip
    """Replace the total of a column that `is_behind` by that of column INDEX of a row or later, until it changes."""
    LAST: tl.constexpr = INDEX + PADDING
    BEFORE: tl.constexpr = LAST - GRAIN
    BEGINS: tl.constexpr = LAST // STRIDE > BEFORE // STRIDE
    ENDS: tl.constexpr = max(LAST - WINDOW, -1) // STRIDE > max(BEFORE - WINDOW, -1) // STRIDE
    if INDEX < GRAIN or BEGINS or ENDS:
        total = tl.where(is_behind, firsts[INDEX], total)
    return total


@triton.jit
def window_sums(columns, COUNT: tl.constexpr, STRIDE: tl.constexpr, WINDOW: tl.constexpr):
    """Return the sums of COUNT windows as a tuple; window j is columns[j * STRIDE :][:WINDOW].

    At stride 1, windows that share a column are the sum of a suffix of what lies before it, of what they all share,
    and of a prefix of what lies after it (van Herk 1992; Gil and Werman 1993): about three additions a window. At other
    strides, windows are such sums of whole strips, and the first columns of one more.
    """
    WHOLE: tl.constexpr = WINDOW // STRIDE
    REST: tl.constexpr = WINDOW % STRIDE
    sums = ()
    if STRIDE == 1:
        SHARING: tl.constexpr = min(COUNT, WINDOW)
        for first in tl.static_range(0, COUNT, SHARING):
            sums = sums + _sharing(columns, first, min(SHARING, COUNT - first), WINDOW)
    elif WHOLE == 0:
        for window in tl.static_range(COUNT):
            sums = sums + (_sum_from(columns, window * STRIDE, WINDOW),)
    else:
        strips = ()
        rests = ()
        for strip in tl.static_range(COUNT + WHOLE - (REST == 0)):
            rest = _sum_from(columns, strip * STRIDE, max(REST, 1))
            rests = rests + (rest,)
            if strip < COUNT + WHOLE - 1:
                for column in tl.static_range(strip * STRIDE + max(REST, 1), (strip + 1) * STRIDE):
                    rest += columns[column]
                strips = strips + (rest,)
        sums = window_sums(strips, COUNT, 1, WHOLE)
        if REST > 0:
            totals = ()
            for window in tl.static_range(COUNT):
                totals = totals + (sums[window] + rests[window + WHOLE],)
            sums = totals
    return sums


@triton.jit
def _sum_from(columns, FIRST: tl.constexpr, COUNT: tl.constexpr):
    """Return the sum of COUNT columns from FIRST on."""
    total = columns[FIRST]
    for column in tl.static_range(FIRST + 1, FIRST + COUNT):
        total += columns[column]
    return total


@triton.jit
def _sharing(columns, FIRST: tl.constexpr, COUNT: tl.constexpr, WINDOW: tl.constexpr):
    """Return the sums of COUNT windows at stride 1, from the column FIRST on, that share a column."""
    total = columns[FIRST + COUNT - 1]
    for tap in tl.static_range(COUNT, WINDOW):
        total += columns[FIRST + tap]
    suffixes = (total,)
    for back in tl.static_range(2, COUNT + 1):
        total = columns[FIRST + COUNT - back] + total
        suffixes = (total,) + suffixes
    sums = (suffixes[0],)
    if COUNT > 1:
        prefix = columns[FIRST + WINDOW]
        sums = sums + (suffixes[1] + prefix,)
        for ahead in tl.static_range(2, COUNT):
            prefix += columns[FIRST + WINDOW + ahead - 1]
            sums = sums + (suffixes[ahead] + prefix,)
    return sums


@triton.jit
def over_threads(tile):
    """Sum each row of a tile [rows, columns], whose columns neighbouring threads hold.

    A sum over threads would leave each row's sum in all of its threads, so that all that follows were done many
    times over. Splitting moves the last 8 partial sums into one thread, with one exchange through shared memory.
    """
    ROWS: tl.constexpr = tile.shape[0]
    COLUMNS: tl.constexpr = tile.shape[1]
    WIDTH: tl.constexpr = min(COLUMNS, 8)
    if ROWS < 8:
        return tl.sum(tile, axis=1)
    else:
        if COLUMNS > WIDTH:
            tile = tl.sum(tl.reshape(tile, (ROWS, WIDTH, COLUMNS // WIDTH)), axis=2)
        columns = columns_of(tile)
        total = columns[0]
        for column in tl.static_range(1, WIDTH):
            total += columns[column]
        return total
