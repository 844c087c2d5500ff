"""The gradient in the transposed layout, written as one array of all channels, columns and batch entries.

All columns of a strip, STRIDE of them, hold at most two values of each channel: one in the columns that one window more
covers, one in the others. A program computes these few values of its tile once, and hands them out through shared
memory. So lanes may lie along the array wherever columns end, and write whole sectors however many channels there are.
A thread's elements, a few next to each other, are the end of one column and perhaps the beginning of the next, so that
it computes two places and not one for each.
Strips are numbered through the batch entries, as if each entry's padding and the rest of its last strip were there.

Cost per output: about eight instructions, and divided by STRIDE five for each window that covers an element. Chosen at
a stride of 2 or more, if there are few channels.
"""

import triton
import triton.language as tl

from .tiles import blocks, divisor, inverse, reciprocal

NO_WINDOW = tl.constexpr(-(1 << 30))  # as an unsigned number it lies beyond all of them


@triton.jit
def spread_in_layers(
    grad_y,  # [batch, ROWS, out_length], with the strides below, in elements; that of rows is 1
    grad_x,  # [batch, ROWS, length]: an array of columns of ROWS elements, without gaps
    batch,
    length,
    out_length,
    y_batch_stride,
    y_col_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ROWS: tl.constexpr,
    SHORT: tl.constexpr,  # more than one batch entry may end in a tile
    WIDE: tl.constexpr,  # grad_x has 2^31 elements or more, or offsets within a tile of grad_y need 64 bits
    TILE: tl.constexpr,  # elements
    STRIPS: tl.constexpr,  # at least as many as a tile may reach into
    GAPLESS: tl.constexpr,  # batch entries are whole strips, or there is one
    WIDTH: tl.constexpr,  # elements that a thread writes in one access, at most ROWS
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    PLACE: tl.constexpr = tl.int64 if WIDE else tl.int32
    STRIP: tl.constexpr = STRIDE * ROWS  # elements
    REST: tl.constexpr = WINDOW % STRIDE
    COLUMNS: tl.constexpr = triton.next_power_of_2(STRIPS * ROWS)
    HELD: tl.constexpr = (ROWS, STRIDE, REST, COLUMNS)
    per_entry = blocks(tl.cast(length, tl.int32) + PADDING, STRIDE)  # strips
    entry_size = tl.cast(length, tl.int32) * ROWS
    missing = per_entry * STRIP - entry_size  # elements that would fill an entry's strips
    total = tl.cast(batch, PLACE) * entry_size
    first = tl.program_id(0).to(PLACE) * TILE
    entry = first * 0
    if batch > 1:
        entry = first // entry_size if WIDE else (first.to(tl.uint32) // entry_size.to(tl.uint32)).to(tl.int32)
    begin = (first - entry * entry_size).to(tl.int32)  # of the tile, in its first entry
    first_strip = ((begin + PADDING * ROWS).to(tl.uint32) // STRIP).to(tl.int32)

    slot = tl.minimum(tl.arange(0, COLUMNS), STRIPS * ROWS - 1)
    ahead = _quotient(slot.to(tl.uint32), ROWS, COLUMNS).to(tl.int32)
    channel = slot - ahead * ROWS
    strip = ahead + first_strip
    step = tl.cast(y_col_stride, PLACE)
    sources = grad_y + entry.to(tl.int64) * y_batch_stride
    WINDOWS: tl.constexpr = (WINDOW, STRIDE, PADDING, DIVISOR)
    OLDEST: tl.constexpr = (WINDOW - 1) // STRIDE  # counted back from the strip's own window
    uncut = (first_strip >= OLDEST) & (first_strip + STRIPS <= out_length)
    if DIVISOR != "window":
        uncut &= (first_strip - OLDEST) * STRIDE >= PADDING
        uncut &= (first_strip + (STRIPS - 1)) * STRIDE + WINDOW - PADDING <= length
    if uncut:
        inner = (sources + first_strip.to(tl.int64) * y_col_stride, ahead.to(PLACE) * step + channel, strip, step)
        rest, beginning = _values(inner, length, out_length, ACC, False, WINDOWS)
    else:
        entries = _entries(strip, per_entry, SHORT) if batch > 1 else strip * 0
        window = strip - entries * per_entry
        offsets = window.to(PLACE) * step + entries.to(PLACE) * tl.cast(y_batch_stride, PLACE)
        window = tl.where(entries < batch - entry, window, NO_WINDOW)
        at = (sources, offsets + channel, window, step)
        rest, beginning = _values(at, length, out_length, ACC, True, WINDOWS)
    values = beginning.to(grad_x.dtype.element_ty)
    if REST > 0:
        rest = rest.to(grad_x.dtype.element_ty)
        values = tl.reshape(tl.permute(tl.join(values, rest), (1, 0)), (2 * COLUMNS,))

    group = tl.arange(0, TILE // WIDTH)[:, None] * WIDTH
    own = tl.arange(0, WIDTH)[None, :]
    place = group + (begin + PADDING * ROWS - first_strip * STRIP)
    if not GAPLESS:
        place += _entries(group + begin, entry_size, SHORT) * missing
    unsigned = place.to(tl.uint32)
    left = ROWS - (unsigned - _quotient(unsigned, ROWS, STRIPS * STRIP) * ROWS).to(tl.int32)  # of the first's column
    index = _first_of_column(unsigned, STRIPS, HELD) + (ROWS - left)
    next_place = place + left
    if not GAPLESS:
        at_end = _entries(group + (begin + left), entry_size, SHORT) - _entries(group + begin, entry_size, SHORT)
        next_place += at_end * missing
    next_index = _first_of_column(next_place.to(tl.uint32), STRIPS, HELD) - left
    index = tl.where(own < left, index, next_index) + own
    gradient = tl.reshape(tl.gather(values, tl.reshape(index, (TILE,)), 0), (TILE // WIDTH, WIDTH))
    targets = grad_x + first + (group + own)
    if first + TILE <= total:
        tl.store(targets, gradient)
    else:
        tl.store(targets, gradient, mask=group + own < (total - first).to(tl.int32))


@triton.jit
def _first_of_column(place, STRIPS: tl.constexpr, HELD: tl.constexpr):
    """Return the index of the value of channel 0 of the column in which a place lies."""
    ROWS: tl.constexpr = HELD[0]
    STRIP: tl.constexpr = ROWS * HELD[1]
    strip = _quotient(place, STRIP, (STRIPS + 1) * STRIP)
    index = (strip * ROWS).to(tl.int32)
    if HELD[2] > 0:  # the second half of the values is what all but the beginnings of strips hold
        index += tl.where(place - strip * STRIP < HELD[2] * ROWS, 0, HELD[3])
    return index


@triton.jit
def _values(at, length, out_length, ACC: tl.constexpr, MASKED: tl.constexpr, WINDOWS: tl.constexpr):
    """Return what the columns of a strip hold behind its first WINDOW % STRIDE columns, and in these.

    MASKED says whether windows may not exist, or be cut by an end of the row.
    """
    WINDOW: tl.constexpr = WINDOWS[0]
    STRIDE: tl.constexpr = WINDOWS[1]
    DIVISOR: tl.constexpr = WINDOWS[3]
    sources, offsets, window, step = at
    rest = tl.zeros(window.shape, ACC)
    beginning = tl.zeros(window.shape, ACC)
    for back in tl.static_range((WINDOW + STRIDE - 1) // STRIDE):
        if MASKED:
            is_there = (window - back).to(tl.uint32) < tl.cast(out_length, tl.uint32)
            value = tl.load(sources + (offsets - back * step), mask=is_there, other=0.0).to(ACC)
            if DIVISOR != "window":
                start = (window - back) * STRIDE - WINDOWS[2]
                value *= reciprocal(divisor(start, WINDOW, 0, length, length + WINDOWS[2], DIVISOR), ACC)
        else:
            value = tl.load(sources - back * step + offsets).to(ACC)
        beginning += value
        if (back + 1) * STRIDE <= WINDOW:
            rest += value
    if not MASKED or DIVISOR == "window":
        rest *= inverse(WINDOW, WINDOW, ACC)
        beginning *= inverse(WINDOW, WINDOW, ACC)
    return rest, beginning


@triton.jit
def _quotient(dividend, BY: tl.constexpr, END: tl.constexpr):
    """Divide uint32 below END."""
    if BY == 1:
        return dividend
    elif END * BY < 4294967296:  # then the rounding of the reciprocal adds less than 1 / BY
        return tl.umulhi(dividend, tl.full((), 4294967295 // BY + 1, tl.uint32))
    else:
        return dividend // BY


@triton.jit
def _entries(place, size, SHORT: tl.constexpr):
    """Return how many batch entries of that size lie before a place."""
    if SHORT:
        reciprocal = tl.full((), 4294967295, tl.uint32) // size.to(tl.uint32) + 1
        return tl.where(size > 1, tl.umulhi(place.to(tl.uint32), reciprocal).to(tl.int32), place)
    else:
        return (place >= size).to(tl.int32)
