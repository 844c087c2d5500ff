"""The gradient of average pooling at strides of 2 and more, by 16-byte stores over the rows as one array.

The rows of a batch entry of grad_x follow each other without a gap. A thread holds groups of as many elements of that
array as fill 16 bytes, so that a tile is never cut where a row ends and its stores are always aligned. It reads the
windows that hold a group one by one. Each element is in the windows from `oldest` to `youngest`, which change only
where a window begins or ends. A group has few such places, so that a few selections give each element its sum.

If a row ends in a group, the columns behind that wall are the first ones of the next row. Which windows hold those is
known when the kernel is compiled; only how far they are moved is not, which again is a matter of selections. Tiles
without walls, whose windows all exist, take a branch without masks.

Cost per output of 2 bytes: about seven instructions for a tile without walls, eight to twenty with them, of which each
window that holds some element of a group costs one. Least if strides and lengths are even: then few columns of a group
change their sum. Chosen if a window covers few strides.
"""

import triton
import triton.language as tl

from .registers import behind_walls, rounded, window_sums
from .tiles import factors, in_rows, inverse, offset_in_rows, place_in_array


@triton.jit
def gather(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements
    grad_x,  # [batch, rows, length]; the rows of an entry follow each other without a gap
    rows,
    length,  # at least as many as fill 16 bytes
    out_length,
    y_batch_stride,
    y_row_stride,
    y_col_stride,
    x_batch_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    GRAIN: tl.constexpr,  # entries of grad_x begin at 16 bytes, rows at so many elements; 0 if entries may not
    SHORT: tl.constexpr,  # several rows may end in a tile
    WIDE: tl.constexpr,  # see `place_in_array`; offsets of grad_y within a tile may need 64 bits too
    BLOCK_OUT: tl.constexpr,
    NEXTS: tl.constexpr,  # first windows of a row, for groups in which the row before ends; 0 if there are none
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    SIZE: tl.constexpr = grad_x.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    GROUPS: tl.constexpr = BLOCK_OUT // WIDTH
    # How far a group begins behind the start of a window: LEAST columns, or more by a multiple of EVERY.
    EVERY: tl.constexpr = min(STRIDE & -STRIDE, max(GRAIN, 1))
    LEAST: tl.constexpr = PADDING % EVERY
    # Windows that a group may need, counted from the youngest that holds its first column.
    OLDEST: tl.constexpr = -max((WINDOW - 1 - LEAST) // STRIDE, 0)
    YOUNGEST: tl.constexpr = (STRIDE - EVERY + LEAST + WIDTH - 1) // STRIDE
    entry, batch, row, column, first, end = place_in_array(
        grad_x, rows, length, x_batch_stride, GRAIN > 0, SHORT, WIDE, BLOCK_OUT
    )
    group = tl.arange(0, GROUPS)
    place = group[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    targets = tl.multiple_of(entry + first, 16) + place
    y_row = grad_y + row.to(tl.int64) * y_row_stride
    if WIDE:
        y_row += batch * y_batch_stride
    step = tl.cast(y_col_stride, tl.int64) if WIDE else y_col_stride
    span = tl.cast(length, column.dtype)

    base = (column + PADDING) // STRIDE  # the youngest window that holds the tile's first column
    last = base + (BLOCK_OUT // STRIDE + 1 + YOUNGEST)  # no group needs a younger one
    inside = (row >= 0) & (row < rows) & (column + BLOCK_OUT <= span)
    inside &= (base >= -OLDEST) & (last < tl.cast(out_length, column.dtype))
    if DIVISOR != "window":  # no window that is read is cut by an end of the row
        inside &= ((base - (-OLDEST)) * STRIDE >= PADDING) & (last * STRIDE + WINDOW <= span + PADDING)
    if not SHORT and inside:
        phase = (column + PADDING - base * STRIDE).to(tl.uint32) + (group * WIDTH).to(tl.uint32)
        youngest = phase // STRIDE  # counted from `base`
        phase = (phase - youngest * STRIDE).to(tl.int32)
        sources = y_row + base.to(tl.int64) * step + youngest.to(tl.int32) * step
        windows = ()
        for window in tl.static_range(OLDEST, YOUNGEST + 1):
            value = tl.load(sources + window * step).to(ACC)
            windows = windows + (value * inverse(WINDOW, WINDOW, ACC),)
        columns = _gradient(windows, phase, EVERY, LEAST, WIDTH, OLDEST, WINDOW, STRIDE)
        tl.store(targets, rounded(columns, grad_x.dtype.element_ty))
    else:
        ahead, at = in_rows(column + (group * WIDTH).to(column.dtype), span, SHORT, BLOCK_OUT)
        # A tile may begin before all rows and end behind them. There it reads the first or the last one.
        last_ahead = tl.minimum(rows - row, BLOCK_OUT).to(tl.int32) - 1
        there = tl.minimum(ahead, last_ahead)
        if GRAIN == 0:
            there = tl.maximum(there, tl.maximum(-row, 0).to(tl.int32))
        youngest = (at + PADDING) // STRIDE
        phase = (at + PADDING - youngest * STRIDE).to(tl.int32)
        sources = y_row + offset_in_rows(there, youngest, y_row_stride, step, SHORT, WIDE)
        eldest = youngest - (-OLDEST)  # unsigned: a window before the row's first one becomes a large number
        windows_end = tl.cast(out_length, eldest.dtype)
        COUNT: tl.constexpr = YOUNGEST + 1 - OLDEST
        weights = factors(eldest, COUNT, span, out_length, WINDOW, STRIDE, PADDING, DIVISOR, ACC)
        windows = ()
        for window in tl.static_range(COUNT):
            exists = eldest + window < windows_end
            value = tl.load(sources + (OLDEST + window) * step, mask=exists, other=0.0).to(ACC)
            windows = windows + (value * weights[window],)
        columns = _gradient(windows, phase, EVERY, LEAST, WIDTH, OLDEST, WINDOW, STRIDE)

        if NEXTS > 0:  # a row may end within a group
            wall = tl.minimum(span - at, WIDTH).to(tl.int32)  # the group's first column of the next row
            there = tl.minimum(ahead + 1, last_ahead)
            next_sources = y_row + offset_in_rows(there, youngest * 0, y_row_stride, step, SHORT, WIDE)
            start = tl.full((), 0, span.dtype)
            weights = factors(start, NEXTS, span, out_length, WINDOW, STRIDE, PADDING, DIVISOR, ACC)  # of all rows
            nexts = ()
            for window in tl.static_range(NEXTS):
                nexts = nexts + (tl.load(next_sources + window * step).to(ACC) * weights[window],)
            firsts = ()
            for index in tl.static_range(WIDTH - 1):
                firsts = firsts + (_sum_of_first(nexts, index + PADDING, WINDOW, STRIDE),)
            columns = behind_walls(columns, firsts, wall, max(GRAIN, 1), WINDOW, STRIDE, PADDING)
        gradient = rounded(columns, grad_x.dtype.element_ty)
        if (GRAIN > 0 or first >= 0) and first + BLOCK_OUT <= end:
            tl.store(targets, gradient)
        else:
            begin, until = tl.maximum(-first, 0).to(tl.int32), tl.minimum(end - first, BLOCK_OUT).to(tl.int32)
            tl.store(targets, gradient, mask=(place >= begin) & (place < until))


@triton.jit
def _sum_of_first(windows, PLACE: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """Sum those of a row's first windows that hold the column PLACE after the start of the first; 0 if none does."""
    OLDEST: tl.constexpr = max(PLACE - WINDOW + STRIDE, 0) // STRIDE
    END: tl.constexpr = min(PLACE // STRIDE + 1, len(windows))
    if OLDEST >= END:
        return tl.zeros(windows[0].shape, windows[0].dtype)
    else:
        total = windows[OLDEST]
        for window in tl.static_range(OLDEST + 1, END):
            total += windows[window]
        return total


@triton.jit
def _gradient(windows, phase, EVERY: tl.constexpr, LEAST: tl.constexpr, WIDTH: tl.constexpr, OLDEST: tl.constexpr,
              WINDOW: tl.constexpr, STRIDE: tl.constexpr):  # fmt: skip
    """Return WIDTH columns [groups] of the sums of the windows that hold each column; `windows` begin with OLDEST.

    Column j of a group lies `phase` + j after the start of window 0; a phase is LEAST or more by a multiple of EVERY.
    WINDOW // STRIDE windows hold a column whatever its phase, and one more holds the first WINDOW % STRIDE of each
    STRIDE columns.
    """
    ALWAYS: tl.constexpr = WINDOW // STRIDE
    always = windows
    if ALWAYS > 0:
        common = ()
        for window in tl.static_range(1 - ALWAYS - OLDEST, len(windows)):
            common = common + (windows[window],)
        always = window_sums(common, len(windows) + OLDEST, 1, ALWAYS)
    columns = ()
    if EVERY == 1 and WINDOW % STRIDE > 0 and STRIDE >= WIDTH - 1:
        # In a group one window starts and one ends, at most. Comparing each column with those two places needs fewer
        # predicates than comparing the phase with two numbers for each column.
        REST: tl.constexpr = WINDOW % STRIDE
        is_more = phase < REST
        more = _sum_at(windows, always, 0, OLDEST, WINDOW, STRIDE)
        fewer = _sum_at(windows, always, REST, OLDEST, WINDOW, STRIDE)
        more_next = _sum_at(windows, always, STRIDE, OLDEST, WINDOW, STRIDE)
        fewer_next = _sum_at(windows, always, STRIDE + REST, OLDEST, WINDOW, STRIDE)
        first, second = tl.where(is_more, REST, STRIDE) - phase, tl.where(is_more, STRIDE, STRIDE + REST) - phase
        begin = tl.where(is_more, more, fewer)
        middle = tl.where(is_more, fewer, more_next)
        end = tl.where(is_more, more_next, fewer_next)
        # In two ways by turns: LLVM makes vectors of what looks alike, whose predicates are bits, which costs more.
        columns = (begin,)
        for column in tl.static_range(1, WIDTH):
            if column % 2 == 0:
                columns = columns + (tl.where(second <= column, end, tl.where(first <= column, middle, begin)),)
            else:
                columns = columns + (tl.where(first > column, begin, tl.where(second > column, middle, end)),)
    else:
        for column in tl.static_range(WIDTH):
            columns = columns + (_sum_of(windows, always, phase, column, EVERY, LEAST, OLDEST, WINDOW, STRIDE),)
    return columns


@triton.jit
def _sum_of(windows, always, phase, COLUMN: tl.constexpr, EVERY: tl.constexpr, LEAST: tl.constexpr,
            OLDEST: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):  # fmt: skip
    """Sum the windows that hold the column COLUMN of each group."""
    FIRST: tl.constexpr = COLUMN + LEAST
    # Where the next window starts, and where the next one ends.
    START: tl.constexpr = (FIRST // STRIDE + 1) * STRIDE
    END: tl.constexpr = FIRST + 1 + (WINDOW - FIRST - 1) % STRIDE
    NEXT: tl.constexpr = min(START, END)
    AFTER: tl.constexpr = max(START, END)
    # The phases from which on this column lies there. Neighbouring columns have some in common.
    TO_NEXT: tl.constexpr = LEAST + (NEXT - FIRST + EVERY - 1) // EVERY * EVERY
    TO_AFTER: tl.constexpr = LEAST + (AFTER - FIRST + EVERY - 1) // EVERY * EVERY
    total = _sum_at(windows, always, FIRST, OLDEST, WINDOW, STRIDE)
    if TO_NEXT < TO_AFTER and TO_NEXT < STRIDE:
        total = tl.where(phase >= TO_NEXT, _sum_at(windows, always, NEXT, OLDEST, WINDOW, STRIDE), total)
    if TO_AFTER < STRIDE:
        total = tl.where(phase >= TO_AFTER, _sum_at(windows, always, AFTER, OLDEST, WINDOW, STRIDE), total)
    return total


@triton.jit
def _sum_at(windows, always, PLACE: tl.constexpr, OLDEST: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """Sum the windows that hold the column PLACE after the start of window 0; 0 if there are none."""
    ALWAYS: tl.constexpr = WINDOW // STRIDE
    ONE_MORE: tl.constexpr = PLACE % STRIDE < WINDOW % STRIDE
    if ALWAYS > 0:
        if ONE_MORE:
            return always[PLACE // STRIDE] + windows[PLACE // STRIDE - ALWAYS - OLDEST]
        else:
            return always[PLACE // STRIDE]
    elif ONE_MORE:
        return windows[PLACE // STRIDE - OLDEST]
    else:
        return tl.zeros(windows[0].shape, windows[0].dtype)
