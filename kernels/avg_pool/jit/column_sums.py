"""Sums of strips and of windows for the transposed layout, whose columns a thread reads one after the other.

A strip is the next few columns of a channel. What is read is described by a tuple `at`: pointers to each lane's column
0 [lanes, channels], the stride of columns, each lane's place of column 0 (counted from where its
row begins), the length of a row, and the lane's own column, if neighbouring lanes read neighbouring columns.
"""

import triton
import triton.language as tl

from .registers import window_sums
from .tiles import divisor

NOWHERE = tl.constexpr(-(1 << 31))  # a place in no row: as an unsigned number it lies beyond all of them
MAX_UNROLLED = tl.constexpr(96)  # loads; what is more is looped over
UNROLLED = tl.constexpr(8)  # loads of each turn of a loop
UNROLLED_IN_ONE = tl.constexpr(16)  # in that over a single window

# The places of HOW, a tuple of constants that says how columns are read.
HOW_MASKED = tl.constexpr(0)  # whether lanes may lie outside their row
HOW_SCALED = tl.constexpr(1)  # whether each column that is read is divided as its window was
HOW_SPLIT = tl.constexpr(2)  # columns that neighbouring lanes read at a time
HOW_ACC = tl.constexpr(3)  # a dtype
HOW_WINDOW = tl.constexpr(4)
HOW_STRIDE = tl.constexpr(5)
HOW_DIVISOR = tl.constexpr(6)  # see `tiles.divisor`


@triton.jit
def load_column(at, column, bounds, HOW: tl.constexpr):
    """Load a column of each lane, 0 outside its row.

    `bounds` are the start of window 0 of each lane, and the row's begin, end, and end of its padding in the same count.
    """
    sources, step, place, span, _ = at
    source = sources + column * step
    if HOW[HOW_MASKED]:
        inside = (place + column).to(tl.uint32) < span.to(tl.uint32)
        value = tl.load(source, mask=inside[:, None], other=0.0).to(HOW[HOW_ACC])
        if HOW[HOW_SCALED]:
            left, low, high, padded_high = bounds
            start = left + column * HOW[HOW_STRIDE]
            count = divisor(start, HOW[HOW_WINDOW], low, high, padded_high, HOW[HOW_DIVISOR])
            value *= (1.0 / count.to(HOW[HOW_ACC]))[:, None]
        return value
    else:
        return tl.load(source).to(HOW[HOW_ACC])


@triton.jit
def window_sum(at, bounds, backwards, HOW: tl.constexpr):
    """Sum one window whose columns neighbouring lanes read, from its first column on or from its last one back.

    If every other program reads backwards, two read what their windows share at the same time, and it is in the cache.
    """
    WIDTH: tl.constexpr = HOW[HOW_SPLIT]
    TURNS: tl.constexpr = HOW[HOW_WINDOW] // WIDTH
    LOOPED: tl.constexpr = (TURNS - 1) // UNROLLED_IN_ONE * UNROLLED_IN_ONE
    first = tl.where(backwards, (TURNS - 1) * WIDTH, 0)
    way = tl.where(backwards, -WIDTH, WIDTH)
    total = load_column(at, first, bounds, HOW)
    for turn in range(1, 1 + LOOPED, UNROLLED_IN_ONE):
        for ahead in tl.static_range(UNROLLED_IN_ONE):
            total += load_column(at, first + (turn + ahead) * way, bounds, HOW)
    for turn in tl.static_range(1 + LOOPED, TURNS):
        total += load_column(at, first + turn * way, bounds, HOW)
    if HOW[HOW_WINDOW] % WIDTH > 0:
        total += _turn(at, bounds, 0, TURNS, HOW[HOW_WINDOW], HOW)
    return total


@triton.jit
def sums_of_runs(at, bounds, RUN: tl.constexpr, WHOLE: tl.constexpr, COLUMNS: tl.constexpr, REST: tl.constexpr,
                 HOW: tl.constexpr):  # fmt: skip
    """Return the sums of RUN windows as a tuple; window j is WHOLE strips from strip j on, and REST columns.

    Strips have COLUMNS columns. Returned is also a tuple of the first RUN - 1 strips, if WHOLE > 0.
    """
    if WHOLE == 0:
        sums = ()
        for window in tl.static_range(RUN):
            total, _ = _strip(at, bounds, window * COLUMNS, REST, 0, HOW)
            sums = sums + (total,)
        return sums, sums
    else:
        sums, ends, strips = _whole_strips(at, bounds, RUN, WHOLE, COLUMNS, REST, HOW)
        if REST > 0:
            end, _ = _strip(at, bounds, (RUN - 1 + WHOLE) * COLUMNS, REST, 0, HOW)
            ends = ends + (end,)
            totals = ()
            for window in tl.static_range(RUN):
                totals = totals + (sums[window] + ends[window],)
            sums = totals
        return sums, strips


@triton.jit
def _whole_strips(at, bounds, RUN: tl.constexpr, WHOLE: tl.constexpr, COLUMNS: tl.constexpr, REST: tl.constexpr,
                  HOW: tl.constexpr):  # fmt: skip
    """Return as tuples the sums of RUN times WHOLE strips, the ends of all but the last window, and the first strips.

    The end of a window is the sum of the REST columns that follow its strips.
    """
    TURNS: tl.constexpr = (COLUMNS + HOW[HOW_SPLIT] - 1) // HOW[HOW_SPLIT]
    ends = ()
    strips = ()
    if WHOLE < RUN or (WHOLE <= 32 and (RUN - 1 + WHOLE) * TURNS <= MAX_UNROLLED):
        for strip in tl.static_range(RUN - 1 + WHOLE):
            if strip < WHOLE:
                total, _ = _strip(at, bounds, strip * COLUMNS, COLUMNS, 0, HOW)
            else:
                total, end = _strip(at, bounds, strip * COLUMNS, COLUMNS, REST, HOW)
                ends = ends + (end,)
            strips = strips + (total,)
        return window_sums(strips, RUN, 1, WHOLE), ends, strips
    else:
        # Suffixes of what lies before the strips that all windows of the run share, and prefixes of what lies after.
        for strip in tl.static_range(RUN - 1):
            total, _ = _strip(at, bounds, strip * COLUMNS, COLUMNS, 0, HOW)
            strips = strips + (total,)
        suffix = _strips(at, bounds, RUN - 1, WHOLE, COLUMNS, HOW)
        suffixes = (suffix,)
        for back in tl.static_range(2, RUN + 1):
            suffix = strips[RUN - back] + suffix
            suffixes = (suffix,) + suffixes
        sums = (suffixes[0],)
        for ahead in tl.static_range(1, RUN):
            total, end = _strip(at, bounds, (WHOLE + ahead - 1) * COLUMNS, COLUMNS, REST, HOW)
            ends = ends + (end,)
            prefix = total if ahead == 1 else prefix + total  # noqa: F821
            sums = sums + (suffixes[ahead] + prefix,)
        return sums, ends, strips


@triton.jit
def _strips(at, bounds, FROM: tl.constexpr, TO: tl.constexpr, COLUMNS: tl.constexpr, HOW: tl.constexpr):
    """Sum the strips from FROM to before TO, at least one."""
    total, _ = _strip(at, bounds, FROM * COLUMNS, COLUMNS, 0, HOW)
    STEP: tl.constexpr = max(UNROLLED // COLUMNS, 1)
    LOOPED: tl.constexpr = (TO - FROM - 1) // STEP * STEP
    turn = 0
    turns = LOOPED // STEP
    if HOW[HOW_MASKED]:
        # Of windows that are far longer than the row, only the turns that some lane has inside the row.
        place = at[2]
        first = tl.min(tl.where(place == NOWHERE, 1 << 30, place), 0) + (FROM + 1) * COLUMNS
        last = tl.max(place, 0) + (FROM + 1) * COLUMNS
        turn = tl.minimum(tl.maximum(-last, 0) // (STEP * COLUMNS), turns)
        turns = tl.minimum(turns, tl.maximum(at[3] - first, 0) // (STEP * COLUMNS) + 1)
    for strip in range(FROM + 1 + turn * STEP, FROM + 1 + turns * STEP, STEP):
        for ahead in tl.static_range(STEP):
            one, _ = _strip(at, bounds, (strip + ahead) * COLUMNS, COLUMNS, 0, HOW)
            total += one
    for strip in tl.static_range(FROM + 1 + LOOPED, TO):
        one, _ = _strip(at, bounds, strip * COLUMNS, COLUMNS, 0, HOW)
        total += one
    return total


@triton.jit
def _strip(at, bounds, first, COLUMNS: tl.constexpr, BEGINNING: tl.constexpr, HOW: tl.constexpr):
    """Return the sums of COLUMNS columns from `first` on, and of the first BEGINNING of them if that is not 0."""
    WIDTH: tl.constexpr = HOW[HOW_SPLIT]
    COMMON: tl.constexpr = BEGINNING // WIDTH  # turns that both have
    CUT: tl.constexpr = BEGINNING % WIDTH
    WHOLE: tl.constexpr = COLUMNS // WIDTH
    DONE: tl.constexpr = COMMON + (1 if CUT > 0 else 0)
    total = None
    if COMMON > 0:
        total = _turns(at, bounds, first, COMMON, HOW)
    beginning = total
    if CUT > 0:
        turn = _turn(at, bounds, first, COMMON, COLUMNS, HOW)
        beginning = _plus(total, tl.where((at[4] < CUT)[:, None], turn, 0.0))
        total = _plus(total, turn)
    if WHOLE > DONE:
        total = _plus(total, _turns(at, bounds, first + DONE * WIDTH, WHOLE - DONE, HOW))
    if COLUMNS % WIDTH > 0 and WHOLE >= DONE:
        total = _plus(total, _turn(at, bounds, first, WHOLE, COLUMNS, HOW))
    if BEGINNING == 0:
        beginning = total
    return total, beginning


@triton.jit
def _plus(total, value):
    """Add the value, if there is something to add it to."""
    if total is None:
        return value
    else:
        return total + value


@triton.jit
def _turn(at, bounds, first, TURN: tl.constexpr, COLUMNS: tl.constexpr, HOW: tl.constexpr):
    """Load a turn of a strip of COLUMNS columns that begins at `first`; what lies beyond the strip is 0."""
    WIDTH: tl.constexpr = HOW[HOW_SPLIT]
    if (TURN + 1) * WIDTH <= COLUMNS:
        return load_column(at, first + TURN * WIDTH, bounds, HOW)
    else:
        sources, step, place, span, own = at
        some = (sources, step, tl.where(own < COLUMNS - TURN * WIDTH, place, NOWHERE), span, own)
        MASKED: tl.constexpr = (True, HOW[1], HOW[2], HOW[3], HOW[4], HOW[5], HOW[6])
        return load_column(some, first + TURN * WIDTH, bounds, MASKED)


@triton.jit
def _turns(at, bounds, first, COUNT: tl.constexpr, HOW: tl.constexpr):
    """Sum COUNT turns from the column `first` on."""
    WIDTH: tl.constexpr = HOW[HOW_SPLIT]
    total = load_column(at, first, bounds, HOW)
    if COUNT <= 32:
        for turn in tl.static_range(1, COUNT):
            total += load_column(at, first + turn * WIDTH, bounds, HOW)
    else:
        LOOPED: tl.constexpr = (COUNT - 1) // UNROLLED * UNROLLED
        for turn in range(1, 1 + LOOPED, UNROLLED):
            for ahead in tl.static_range(UNROLLED):
                total += load_column(at, first + (turn + ahead) * WIDTH, bounds, HOW)
        for turn in tl.static_range(1 + LOOPED, COUNT):
            total += load_column(at, first + turn * WIDTH, bounds, HOW)
    return total
