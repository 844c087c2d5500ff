"""The gradient of average pooling at strides of 2 and more, by 16-byte stores.

A thread holds groups of as many elements of x as fill 16 bytes, and reads the windows that hold them one by one. Each
element is in the windows from `oldest` to `youngest`, which change only where a window begins or ends. A group has few
such places, so that a few selections give each element its sum, and each group needs one division.
"""

import triton
import triton.language as tl

from .registers import tile_of, window_sums
from .tiles import blocks, divisor, in_short_rows, inverse, place, place_in_short_rows


@triton.jit
def gather(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements; that of columns is 1
    grad_x,  # [batch, rows, length]
    rows,
    length,
    out_length,
    y_batch_stride,
    y_row_stride,
    x_batch_stride,
    x_row_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    ALIGNED: tl.constexpr,  # rows of grad_x begin and end at multiples of 16 bytes
    SHORT: tl.constexpr,  # rows end within a tile, which holds groups of several rows
    BLOCK_OUT: tl.constexpr,
    ROWS_PER_PROG: tl.constexpr,
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i."""
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    SIZE: tl.constexpr = grad_x.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = 16 // SIZE
    GROUPS: tl.constexpr = BLOCK_OUT // WIDTH  # of a row
    ALL: tl.constexpr = ROWS_PER_PROG * GROUPS
    LEADING: tl.constexpr = not ALIGNED and ROWS_PER_PROG == 1  # the tile begins where stores are aligned
    # Windows that a group may need, counted from the youngest that holds its first column.
    OLDEST: tl.constexpr = -((WINDOW - 1) // STRIDE)
    YOUNGEST: tl.constexpr = (STRIDE + WIDTH - 2) // STRIDE
    if SHORT:
        per_row = blocks(length, WIDTH)
        batch, first_row, first_group, count = place_in_short_rows(rows, per_row, ALL)
        row, group = in_short_rows(first_group + tl.arange(0, ALL), per_row)
        first = first_row * 0
        held = tl.arange(0, ALL) < count
    else:
        SLACK: tl.constexpr = WIDTH - 1 if LEADING else 0
        batch, first_row, tile = place(rows, blocks(tl.cast(length, tl.int64) + SLACK, BLOCK_OUT), ROWS_PER_PROG)
        first = tile * BLOCK_OUT
        index = tl.arange(0, ALL)
        row = index // GROUPS
        group = index % GROUPS if ROWS_PER_PROG > 1 else index
        held = row < tl.minimum(rows - first_row, ROWS_PER_PROG).to(tl.int32)
    y_row = grad_y + batch * y_batch_stride + first_row * y_row_stride
    x_row = grad_x + batch * x_batch_stride + first_row * x_row_stride
    if ALIGNED:
        x_row = tl.multiple_of(x_row, 16)
    if LEADING:
        first -= x_row.to(tl.int64) // SIZE % WIDTH
    # Division rounds towards zero, and the first column may lie up to WIDTH - 1 to the left of the row.
    base = (first + (PADDING + STRIDE * WIDTH)) // STRIDE - WIDTH
    phase = (first + PADDING - base * STRIDE).to(tl.int32) + group * WIDTH
    youngest = phase // STRIDE  # counted from `base`: the youngest window that holds the group's first column
    phase -= youngest * STRIDE
    KNOWN: tl.constexpr = PADDING % STRIDE if ALIGNED and WIDTH % STRIDE == 0 else -1  # the phase of all groups
    read_at = youngest
    write_at = group * WIDTH
    if SHORT or ROWS_PER_PROG > 1:
        read_at = row.to(tl.int64) * y_row_stride + read_at
        write_at = row.to(tl.int64) * x_row_stride + write_at
        if ALIGNED:
            write_at = tl.multiple_of(write_at, WIDTH)
    lane = tl.arange(0, WIDTH)[None, :]
    sources = y_row + base + read_at
    targets = x_row + first
    if ALIGNED or LEADING:
        targets = tl.multiple_of(targets, 16)
    targets += write_at[:, None] + lane

    last = base + (BLOCK_OUT // STRIDE + 1 + YOUNGEST)  # no group needs a younger one
    inside = (first >= 0) & (first + BLOCK_OUT <= length) & (first_row + ROWS_PER_PROG <= rows)
    inside &= (base + OLDEST >= 0) & (last < out_length)
    if DIVISOR != "window":  # no window that is read is cut by an end of the row
        inside &= ((base + OLDEST) * STRIDE >= PADDING) & (last * STRIDE - PADDING + WINDOW <= length)
    if SHORT or not (ALIGNED or LEADING):
        inside &= False
    if inside:
        windows = ()
        for window in tl.static_range(OLDEST, YOUNGEST + 1):
            value = tl.load(sources + window).to(ACC)
            windows = windows + (value * inverse(WINDOW, WINDOW, ACC),)
        tl.store(targets, _gradient(windows, phase, KNOWN, WIDTH, OLDEST, WINDOW, STRIDE, grad_x.dtype.element_ty))
    else:
        # No window that holds a column of the tile ends beyond its reach, so that bounds cut to it fit into 32 bits.
        REACH: tl.constexpr = BLOCK_OUT + 2 * (WINDOW + STRIDE)
        start = PADDING - base * STRIDE  # of the row, from where window `base` starts
        begin = tl.maximum(start, -REACH).to(tl.int32)
        end = tl.minimum(start + length, REACH).to(tl.int32)
        padded_end = tl.minimum(start + length + PADDING, REACH).to(tl.int32)
        first_window = tl.maximum(-base, -REACH).to(tl.int32)
        end_window = tl.minimum(tl.maximum(out_length - base, -REACH), REACH).to(tl.int32)
        windows = ()
        for window in tl.static_range(OLDEST, YOUNGEST + 1):
            at = youngest + window
            value = tl.load(sources + window, mask=held & (at >= first_window) & (at < end_window), other=0.0).to(ACC)
            if DIVISOR == "window":
                value *= inverse(WINDOW, WINDOW, ACC)
            else:
                value /= divisor(at * STRIDE, WINDOW, begin, end, padded_end, DIVISOR).to(ACC)
            windows = windows + (value,)
        column = group[:, None] * WIDTH
        wanted = held[:, None]
        if not ALIGNED:
            column += lane
            wanted = wanted & (column >= tl.maximum(-first, 0).to(tl.int32))
        wanted = wanted & (column < tl.minimum(length - first, BLOCK_OUT).to(tl.int32))
        gradient = _gradient(windows, phase, KNOWN, WIDTH, OLDEST, WINDOW, STRIDE, grad_x.dtype.element_ty)
        tl.store(targets, gradient, mask=wanted)


@triton.jit
def _gradient(windows, phase, KNOWN: tl.constexpr, WIDTH: tl.constexpr, OLDEST: tl.constexpr, WINDOW: tl.constexpr,
              STRIDE: tl.constexpr, dtype: tl.constexpr):  # fmt: skip
    """Return the tile [groups, WIDTH] of the sums of the windows that hold each column; `windows` begin with OLDEST.

    Column j of a group lies `phase` + j after the start of window 0. WINDOW // STRIDE windows hold a column whatever
    its phase, and one more holds the first WINDOW % STRIDE of each STRIDE columns.
    """
    ALWAYS: tl.constexpr = WINDOW // STRIDE
    always = windows
    if ALWAYS > 0:
        common = ()
        for window in tl.static_range(1 - ALWAYS - OLDEST, len(windows)):
            common = common + (windows[window],)
        always = window_sums(common, len(windows) + OLDEST, 1, ALWAYS)
    columns = ()
    for column in tl.static_range(WIDTH):
        total = _sum_of(windows, always, phase, column, KNOWN, OLDEST, WINDOW, STRIDE)
        columns = columns + (total.to(dtype),)
    return tile_of(columns)


@triton.jit
def _sum_of(windows, always, phase, COLUMN: tl.constexpr, KNOWN: tl.constexpr, OLDEST: tl.constexpr,
            WINDOW: tl.constexpr, STRIDE: tl.constexpr):  # fmt: skip
    """Sum the windows that hold the column COLUMN of each group."""
    FIRST: tl.constexpr = COLUMN if KNOWN < 0 else COLUMN + KNOWN
    LAST: tl.constexpr = COLUMN + STRIDE - 1 if KNOWN < 0 else FIRST
    # Where the next window starts, and where the next one ends.
    START: tl.constexpr = (FIRST // STRIDE + 1) * STRIDE
    END: tl.constexpr = FIRST + 1 + (WINDOW - FIRST - 1) % STRIDE
    NEXT: tl.constexpr = min(START, END)
    AFTER: tl.constexpr = max(START, END)
    total = _sum_at(windows, always, FIRST, OLDEST, WINDOW, STRIDE)
    if NEXT <= LAST:
        total = tl.where(phase >= NEXT - COLUMN, _sum_at(windows, always, NEXT, OLDEST, WINDOW, STRIDE), total)
    if NEXT < AFTER and AFTER <= LAST:
        total = tl.where(phase >= AFTER - COLUMN, _sum_at(windows, always, AFTER, OLDEST, WINDOW, STRIDE), total)
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
