"""The gradient of average pooling if a window covers several strides, by sums of consecutive windows.

An element is in the WINDOW // STRIDE windows up to the youngest that holds it and, if it lies in the first
WINDOW % STRIDE columns of that one, in one more. So all elements of a strip, STRIDE columns wide, share two sums. A
program reads the windows of its tile once, one a slot, and adds up consecutive ones: sums of 1, 4, 16 ... slots are
exchanged between threads, and as many of each are added as the digits of WINDOW // STRIDE say. Both sums of each slot
are laid next to each other, in the order in which they follow each other along a row. Each group of 16 bytes then takes
the few that its columns need, and a few selections give each column its own.

As in `gather.py` the rows of grad_x are one array, and tiles with walls take a branch of their own. There a slot's
window may be in any of the tile's rows, which are kept apart by slots of zeros.

Cost per output: about eight instructions and, divided by STRIDE, some thirty for each power of four in
WINDOW // STRIDE. Chosen if a window covers three strides or more.
"""

import triton
import triton.language as tl

from .registers import behind_walls, columns_of, rounded
from .tiles import factors, in_rows, inverse, offset_in_rows, place_in_array


@triton.jit
def spread_by_strips(
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
    CHUNK: tl.constexpr,  # slots for windows: a power of two
    TILE: tl.constexpr,  # elements that are written: those of BLOCK_OUT that there are slots for
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    WIDTH: tl.constexpr = 128 // grad_x.dtype.element_ty.primitive_bitwidth
    ALWAYS: tl.constexpr = WINDOW // STRIDE
    NEEDED: tl.constexpr = ALWAYS + (TILE + STRIDE - 2) // STRIDE + 2  # slots, if no row ends in the tile
    entry, batch, row, column, first, end = place_in_array(
        grad_x, rows, length, x_batch_stride, GRAIN > 0, SHORT, WIDE, TILE
    )
    group = tl.arange(0, BLOCK_OUT // WIDTH)
    place = group[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    targets = tl.multiple_of(entry + first, 16) + place
    y_row = grad_y + row.to(tl.int64) * y_row_stride
    if WIDE:
        y_row += batch * y_batch_stride
    step = tl.cast(y_col_stride, tl.int64) if WIDE else y_col_stride
    span = tl.cast(length, column.dtype)
    SIGNED: tl.constexpr = tl.int64 if column.dtype == tl.uint64 else tl.int32

    slot = tl.arange(0, CHUNK)
    base = (column + PADDING) // STRIDE  # the youngest window that holds the tile's first column
    start = base.to(SIGNED) - ALWAYS  # the window in slot 0; may be negative
    last = start + NEEDED
    inside = (row >= 0) & (row < rows) & (column + TILE <= span) & (start >= 0) & (last <= out_length)
    if DIVISOR != "window":  # no window that is read is cut by an end of the row
        inside &= (start * STRIDE >= PADDING) & (last * STRIDE + (WINDOW - STRIDE) <= length + PADDING)
    if not SHORT and inside:
        sources = y_row + start.to(tl.int64) * step + slot * step
        values = tl.load(sources, mask=slot < NEEDED, other=0.0).to(ACC) * inverse(WINDOW, WINDOW, ACC)
        sums = _sums_of_slots(values, slot, WINDOW, STRIDE)
        phase = (column + PADDING - base * STRIDE).to(tl.uint32) + (group * WIDTH).to(tl.uint32)
        youngest = phase // STRIDE  # counted from `base`
        phase = (phase - youngest * STRIDE).to(tl.int32)
        columns = _columns(
            sums, youngest.to(tl.int32) + ALWAYS, phase, None, TILE == BLOCK_OUT, WIDTH, GRAIN, WINDOW, STRIDE, PADDING
        )
        gradient = rounded(columns, grad_x.dtype.element_ty)
        if TILE == BLOCK_OUT:
            tl.store(targets, gradient)
        else:
            tl.store(targets, gradient, mask=group[:, None] < TILE // WIDTH)
    else:
        # The slots of a row begin with its window 0, and end with the youngest window that holds its last column. At
        # least ALWAYS of them lie behind its last window and hold 0, so that no sum of the next row reaches a window.
        per_row = tl.maximum((span + PADDING - 1) // STRIDE + 1, tl.cast(out_length, span.dtype) + ALWAYS)
        # Unsigned, a window before the first becomes one behind the last: of the row before, or a large number.
        window = (slot + start).to(column.dtype)
        row_of_slot, in_row = in_rows(window + per_row if SHORT else window, per_row, SHORT, CHUNK)
        if SHORT:
            row_of_slot -= 1
        # A tile may begin before all rows and end behind them. There it reads the first or the last one.
        row_of_slot = tl.minimum(row_of_slot, tl.minimum(rows - row, BLOCK_OUT).to(tl.int32) - 1)
        if GRAIN == 0:
            row_of_slot = tl.maximum(row_of_slot, tl.maximum(-row, 0).to(tl.int32))
        sources = y_row + offset_in_rows(row_of_slot, in_row, y_row_stride, step, SHORT, WIDE)
        values = tl.load(sources, mask=in_row < tl.cast(out_length, in_row.dtype), other=0.0).to(ACC)
        values *= factors(in_row, 1, span, out_length, WINDOW, STRIDE, PADDING, DIVISOR, ACC)[0]
        sums = _sums_of_slots(values, slot, WINDOW, STRIDE)

        ahead, at = in_rows(column + (group * WIDTH).to(column.dtype), span, SHORT, BLOCK_OUT)
        youngest = (at + PADDING) // STRIDE
        phase = (at + PADDING - youngest * STRIDE).to(tl.int32)
        slot_of_row = (ahead * per_row.to(SIGNED) - start).to(tl.int32)  # of its window 0
        nexts = None
        if GRAIN < WIDTH:  # a row may end within a group
            wall = tl.minimum(span - at, WIDTH).to(tl.int32)  # the group's first column of the next row
            nexts = (wall, slot_of_row + (per_row.to(tl.int32) + PADDING // STRIDE))
        our_slot = slot_of_row + youngest.to(tl.int32)
        columns = _columns(sums, our_slot, phase, nexts, False, WIDTH, GRAIN, WINDOW, STRIDE, PADDING)
        gradient = rounded(columns, grad_x.dtype.element_ty)
        begin, until = tl.maximum(-first, 0).to(tl.int32), tl.minimum(end - first, TILE).to(tl.int32)
        if (begin == 0) & (until == BLOCK_OUT):
            tl.store(targets, gradient)
        elif (begin == 0) & (until == TILE):
            tl.store(targets, gradient, mask=group[:, None] < TILE // WIDTH)
        else:
            tl.store(targets, gradient, mask=(place >= begin) & (place < until))


@triton.jit
def _sums_of_slots(values, slot, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """Return the sums that follow each other along a row: two of each slot if windows end within strips, else one.

    The first is of the slot and WINDOW // STRIDE before it, the second leaves out the oldest of these. Those of the
    first slots, which lack some before them, are not needed.
    """
    ALWAYS: tl.constexpr = WINDOW // STRIDE
    power, total, oldest = _with_power(values, values, slot, 1, ALWAYS)
    for level in tl.static_range(1, 6):
        if 4**level <= ALWAYS:
            power, total, _ = _with_power(power, total, slot, 4**level, ALWAYS)
    if WINDOW % STRIDE == 0:
        return total
    else:
        return tl.interleave(total + oldest, total)


@triton.jit
def _with_power(power, total, slot, STEP: tl.constexpr, COUNT: tl.constexpr):
    """Add up slots from the sums of STEP slots, `power`; STEP is a power of 4, a digit of COUNT the number to take.

    Returns the sums of 4 * STEP slots, of the last COUNT slots as far as the digits of COUNT up to this one say, the
    farthest first, and the value COUNT slots before each, if it is wanted. One exchange between threads serves all.
    """
    ALL: tl.constexpr = power.shape[0]
    DIGIT: tl.constexpr = COUNT // STEP % 4
    NEAR: tl.constexpr = COUNT // (4 * STEP) * (4 * STEP)  # slots that later powers add, before which these lie
    lane = tl.arange(0, 8)[None, :]
    far = tl.where(lane < 6, tl.minimum(NEAR + (lane - 3) * STEP, COUNT), COUNT)
    # Sums of four powers are needed from the slot 3 * STEP on, others from COUNT on: of each kind one place is clamped,
    # and the others lie a constant after it.
    at = tl.maximum(slot - 3 * STEP, 0)[:, None] + (2 - lane) * (STEP if NEAR > 0 else 0)
    at = tl.where(lane < 3, at, tl.maximum(slot - COUNT, 0)[:, None] + (COUNT - far))
    found = columns_of(tl.reshape(tl.gather(power, tl.reshape(at, (ALL * 8,)), 0), (ALL, 8)))
    if DIGIT > 0:
        part = power if NEAR == 0 else found[3]
        for number in tl.static_range(1, DIGIT):
            part += found[3 + number]
        total = part if COUNT % STEP == 0 else total + part
    if NEAR > 0:
        power = (power + found[0]) + (found[1] + found[2])
    return power, total, found[6]


@triton.jit
def _columns(sums, slot, phase, nexts, INSIDE: tl.constexpr, WIDTH: tl.constexpr, GRAIN: tl.constexpr,
             WINDOW: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr):  # fmt: skip
    """Return WIDTH columns [groups] of each group's sums; its first column lies `phase` after the start of `slot`.

    `nexts` are each group's first column of the next row and the slot with which the windows of that row's first column
    end; None if no row ends within a group.
    """
    REST: tl.constexpr = WINDOW % STRIDE
    KINDS: tl.constexpr = 2 if REST > 0 else 1
    NEXTS: tl.constexpr = 0 if nexts is None else ((PADDING % STRIDE + WIDTH - 2) // STRIDE + 1) * KINDS
    next_first = None if nexts is None else nexts[1] * KINDS
    columns = ()
    if REST > 0 and STRIDE >= WIDTH - 1:
        is_more = phase < REST
        few, next_few = _found(sums, slot * 2 + tl.where(is_more, 0, 1), 3, next_first, NEXTS, INSIDE)
        first = tl.where(is_more, REST, STRIDE) - phase
        second = tl.where(is_more, STRIDE, STRIDE + REST) - phase
        columns = (few[0],)
        for column in tl.static_range(1, WIDTH):
            columns = columns + (tl.where(second <= column, few[2], tl.where(first <= column, few[1], few[0])),)
    else:
        COUNT: tl.constexpr = ((STRIDE + WIDTH - 2) // STRIDE + 1) * KINDS
        few, next_few = _found(sums, slot * KINDS, COUNT, next_first, NEXTS, INSIDE)
        for column in tl.static_range(WIDTH):
            columns = columns + (_column(few, phase, column, WINDOW, STRIDE),)
    if nexts is None:
        return columns
    else:
        firsts = ()
        for index in tl.static_range(WIDTH - 1):
            firsts = firsts + (_of_place(next_few, index + PADDING % STRIDE, WINDOW, STRIDE),)
        return behind_walls(columns, firsts, nexts[0], max(GRAIN, 1), WINDOW, STRIDE, PADDING)


@triton.jit
def _found(sums, first, COUNT: tl.constexpr, next_first, NEXTS: tl.constexpr, INSIDE: tl.constexpr):
    """Return two tuples: COUNT sums or more from the place `first` on, and NEXTS or more from `next_first` on.

    Unless INSIDE, places may lie outside, where nothing is needed. Each exchange between threads waits for all of
    them, so that many sums of a group are taken in one.
    """
    ALL: tl.constexpr = sums.shape[0]
    AT_ONCE: tl.constexpr = min(triton.next_power_of_2(max(COUNT, NEXTS)), 8, ALL)
    GROUPS: tl.constexpr = first.shape[0]
    ahead = tl.arange(0, AT_ONCE)[None, :]
    found = ()
    next_found = ()
    for begin in tl.static_range(0, max(COUNT, NEXTS), AT_ONCE):
        ours = first + begin
        if not INSIDE:
            ours = tl.minimum(tl.maximum(ours, 0), ALL - AT_ONCE)
        if NEXTS == 0:
            at = tl.reshape(ours[:, None] + ahead, (GROUPS * AT_ONCE,))
            found = found + columns_of(tl.reshape(tl.gather(sums, at, 0), (GROUPS, AT_ONCE)))
        else:
            theirs = tl.minimum(tl.maximum(next_first + begin, 0), ALL - AT_ONCE)
            at = tl.reshape(tl.join(ours[:, None] + ahead, theirs[:, None] + ahead), (GROUPS * AT_ONCE * 2,))
            our_sums, their_sums = tl.split(tl.reshape(tl.gather(sums, at, 0), (GROUPS, AT_ONCE, 2)))
            found = found + columns_of(our_sums)
            next_found = next_found + columns_of(their_sums)
    return found, next_found


@triton.jit
def _column(sums, phase, COLUMN: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """Select the sums of a group's column COLUMN, at most STRIDE - 1 columns farther than for phase 0."""
    LAST: tl.constexpr = COLUMN + STRIDE - 1
    # Where the next window starts, and where the next one ends.
    START: tl.constexpr = (COLUMN // STRIDE + 1) * STRIDE
    END: tl.constexpr = COLUMN + 1 + (WINDOW - COLUMN - 1) % STRIDE
    NEXT: tl.constexpr = min(START, END)
    AFTER: tl.constexpr = max(START, END)
    total = _of_place(sums, COLUMN, WINDOW, STRIDE)
    if NEXT <= LAST:
        total = tl.where(phase >= NEXT - COLUMN, _of_place(sums, NEXT, WINDOW, STRIDE), total)
    if NEXT < AFTER and AFTER <= LAST:
        total = tl.where(phase >= AFTER - COLUMN, _of_place(sums, AFTER, WINDOW, STRIDE), total)
    return total


@triton.jit
def _of_place(sums, PLACE: tl.constexpr, WINDOW: tl.constexpr, STRIDE: tl.constexpr):
    """Return the sum of the column PLACE after the start of the slot with which `sums` begin."""
    REST: tl.constexpr = WINDOW % STRIDE
    if REST == 0:
        return sums[PLACE // STRIDE]
    elif PLACE % STRIDE < REST:
        return sums[PLACE // STRIDE * 2]
    else:
        return sums[PLACE // STRIDE * 2 + 1]
