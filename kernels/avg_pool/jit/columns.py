"""Pooling of the transposed layout, in which the elements of a column lie next to each other.

Lanes lie along memory: neighbours have neighbouring channels, or the same channel of the next run. A run is what a
thread works on: forward the next outputs of a channel, backward the next strips; a strip is STRIDE columns. A window is
WINDOW // STRIDE whole strips and the beginning of the next one, so that a thread reads each column once for all windows
of its run, with about three additions an output at stride 1, and backward a strip holds two values at most. Items, the
pairs of a run and a channel, are numbered through, since the number of channels is often no power of two.
"""

import triton
import triton.language as tl

from .column_sums import NOWHERE, load_column, sums_of_runs, window_sum
from .lanes import items_of_runs, joined, one_run, pointers_to_units, units_of_program
from .tiles import blocks, divisor, inverse

FAR = tl.constexpr(1 << 30)  # no tile has as many columns


@triton.jit
def pool_columns(
    x,  # [batch, rows, length], with the strides below, in elements; that of rows is 1
    y,  # [batch, rows, out_length]
    batch,
    rows,
    length,
    out_length,
    x_batch_stride,
    x_col_stride,
    y_batch_stride,
    y_col_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    TOGETHER: tl.constexpr,  # channels that a thread reads and writes in one access
    SHORT: tl.constexpr,  # items are numbered through all batch entries
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    RUN: tl.constexpr,  # outputs
    LANES: tl.constexpr,
    SPLIT: tl.constexpr,  # columns that neighbouring lanes read at a time; if more than 1, a program has one run
    GAP: tl.constexpr,  # the number of rows, if both tensors are arrays of columns without gaps, else 0
):
    """y[b, r, o] = the mean of x[b, r, o * STRIDE - PADDING :][:WINDOW]."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    SPAN: tl.constexpr = (RUN - 1) * STRIDE + WINDOW
    units = tl.cast(GAP if GAP > 0 else rows, tl.int32) // TOGETHER
    runs = blocks(out_length, RUN)
    if SPLIT == 1:
        together = 0
        entry, first_run, last_run, whole, lanes = items_of_runs(batch, runs, units, 1, SHORT, LANES)
    else:
        entry, first_run, last_run, whole, lanes, together = one_run(runs, units, SPLIT, LANES)
    entries, run, own, unit, held = lanes
    start = first_run.to(tl.int64) * (RUN * STRIDE) - PADDING
    last = last_run.to(tl.int64) * (RUN * STRIDE) - PADDING
    left = run * (RUN * STRIDE)  # where each lane's run starts, counted from `start`
    low = tl.minimum(tl.maximum(-start, 0), FAR).to(tl.int32)
    high = tl.minimum(length - start, FAR).to(tl.int32)
    padded_high = tl.minimum(length - start + PADDING, FAR).to(tl.int32)
    sources, step = pointers_to_units(
        x, entry, entries, x_batch_stride, start, left + own, x_col_stride, unit, TOGETHER, SHORT, WIDE, GAP
    )
    at = (sources, step, tl.where(held, left + own - low, NOWHERE), tl.maximum(high - low, 0), own)
    if SPLIT > 1:  # once lanes with the same channel are joined
        unit, held = units_of_program(tl.arange(0, triton.next_power_of_2(LANES // SPLIT)), units, together)
        run = unit * 0
        left = run
    first = first_run * RUN
    targets, write_step = pointers_to_units(
        y, entry, entries, y_batch_stride, first, run * RUN, y_col_stride, unit, TOGETHER, SHORT, WIDE, GAP
    )

    if whole & (start >= 0) & (last + SPAN <= length) & ((last_run + 1) * RUN <= out_length):
        HOW: tl.constexpr = (False, False, SPLIT, ACC, WINDOW, STRIDE, DIVISOR)
        if SPLIT > 1 and RUN == 1:
            sums = (window_sum(at, None, first_run % 2 == 1, HOW),)
        else:
            sums, _ = sums_of_runs(at, None, RUN, WINDOW // STRIDE, STRIDE, WINDOW % STRIDE, HOW)
        for output in tl.static_range(RUN):
            mean = joined(sums[output], together, SPLIT) * inverse(WINDOW, WINDOW, ACC)
            if SPLIT == 1:
                tl.store(targets + output * write_step, mean.to(y.dtype.element_ty))
            else:
                tl.store(targets + output * write_step, mean.to(y.dtype.element_ty), mask=held[:, None])
    else:
        MASKED: tl.constexpr = (True, False, SPLIT, ACC, WINDOW, STRIDE, DIVISOR)
        if SPLIT > 1 and RUN == 1:
            sums = (window_sum(at, None, first_run % 2 == 1, MASKED),)
        else:
            sums, _ = sums_of_runs(at, None, RUN, WINDOW // STRIDE, STRIDE, WINDOW % STRIDE, MASKED)
        room = tl.where(held, out_length - first - run * RUN, 0)
        for output in tl.static_range(RUN):
            mean = joined(sums[output], together, SPLIT)
            if DIVISOR == "window":
                mean *= inverse(WINDOW, WINDOW, ACC)
            else:
                count = divisor(left + output * STRIDE, WINDOW, low, high, padded_high, DIVISOR)
                mean *= (1.0 / count.to(ACC))[:, None]
            mask = (room > output)[:, None]
            tl.store(targets + output * write_step, mean.to(y.dtype.element_ty), mask=mask)


@triton.jit
def spread_columns(
    grad_y,  # [batch, rows, out_length], with the strides below, in elements; that of rows is 1
    grad_x,  # [batch, rows, length]
    batch,
    rows,
    length,
    out_length,
    y_batch_stride,
    y_col_stride,
    x_batch_stride,
    x_col_stride,
    WINDOW: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DIVISOR: tl.constexpr,
    TOGETHER: tl.constexpr,
    SHORT: tl.constexpr,
    WIDE: tl.constexpr,
    RUN: tl.constexpr,  # strips
    LANES: tl.constexpr,
    SPLIT: tl.constexpr,  # columns that neighbouring lanes write at a time
    GAP: tl.constexpr,
):
    """grad_x[b, r, i] = the sum of grad_y[b, r, o] / divisor(o) over the windows o that hold i.

    Strip w begins where window w does. The WHOLE windows up to w hold all of it, the one before only its beginning.
    """
    ACC: tl.constexpr = tl.float64 if grad_y.dtype.element_ty == tl.float64 else tl.float32
    WHOLE: tl.constexpr = WINDOW // STRIDE
    REST: tl.constexpr = WINDOW % STRIDE
    BACK: tl.constexpr = WHOLE - 1  # from a strip's own window to the oldest one that holds all of it
    OLDEST: tl.constexpr = WHOLE if REST > 0 else WHOLE - 1
    units = tl.cast(GAP if GAP > 0 else rows, tl.int32) // TOGETHER
    strips = (length + PADDING - 1) // STRIDE + 1
    runs = blocks(strips, RUN)
    entry, first_run, last_run, whole, lanes = items_of_runs(batch, runs, units, SPLIT, SHORT, LANES)
    entries, run, own, unit, held = lanes
    first = first_run * RUN
    end = (last_run + 1) * RUN  # windows and strips of the tile lie before it
    sources, step = pointers_to_units(
        grad_y, entry, entries, y_batch_stride, first - BACK, run * RUN, y_col_stride, unit, TOGETHER, SHORT, WIDE, GAP
    )
    at = (sources, step, tl.where(held, run * RUN + (first - BACK), NOWHERE), out_length, own)
    start = first.to(tl.int64) * STRIDE - PADDING
    left = run * (RUN * STRIDE)
    targets, write_step = pointers_to_units(
        grad_x, entry, entries, x_batch_stride, start, left + own, x_col_stride, unit, TOGETHER, SHORT, WIDE, GAP
    )
    low = tl.minimum(tl.maximum(-start, 0), FAR).to(tl.int32)
    high = tl.minimum(length - start, FAR).to(tl.int32)
    to = (targets, write_step, tl.where(held, left + own - low, NOWHERE), tl.maximum(high - low, 0), own)

    inside = whole & (start >= 0) & (end.to(tl.int64) * STRIDE - PADDING <= length)
    inside &= (first >= OLDEST) & (end <= out_length)
    if DIVISOR != "window":  # no window that is read is cut by an end of the row
        inside &= start >= OLDEST * STRIDE
        inside &= (end - 1).to(tl.int64) * STRIDE - PADDING + WINDOW <= length
    if inside:
        HOW: tl.constexpr = (False, False, 1, ACC, WINDOW, STRIDE, DIVISOR)
        sums, beginnings = _gradients(at, None, RUN, WHOLE, REST, HOW)
        _store_strips(to, sums, beginnings, False, inverse(WINDOW, WINDOW, ACC), RUN, STRIDE, REST, SPLIT)
    else:
        MASKED: tl.constexpr = (True, DIVISOR != "window", 1, ACC, WINDOW, STRIDE, DIVISOR)
        row_low = tl.minimum(tl.maximum(BACK * STRIDE - start, -FAR), FAR).to(tl.int32)
        row_high = tl.minimum(length + BACK * STRIDE - start, FAR).to(tl.int32)
        padded_high = tl.minimum(length + BACK * STRIDE - start + PADDING, FAR).to(tl.int32)
        sums, beginnings = _gradients(at, (left, row_low, row_high, padded_high), RUN, WHOLE, REST, MASKED)
        scale = inverse(WINDOW, WINDOW, ACC) if DIVISOR == "window" else tl.full((), 1.0, ACC)
        _store_strips(to, sums, beginnings, True, scale, RUN, STRIDE, REST, SPLIT)


@triton.jit
def _gradients(at, bounds, RUN: tl.constexpr, WHOLE: tl.constexpr, REST: tl.constexpr, HOW: tl.constexpr):
    """Return the sums of the windows that hold all of a strip, and that hold its beginning, as tuples of RUN."""
    beginnings = ()
    if WHOLE == 0:
        for strip in tl.static_range(RUN):
            beginnings = beginnings + (load_column(at, strip - 1, bounds, HOW),)
        none = tl.zeros(beginnings[0].shape, beginnings[0].dtype)
        sums = ()
        for _ in tl.static_range(RUN):
            sums = sums + (none,)
        return sums, beginnings
    else:
        sums, firsts = sums_of_runs(at, bounds, RUN, WHOLE, 1, 0, HOW)
        if REST > 0:
            beginnings = beginnings + (sums[0] + load_column(at, -1, bounds, HOW),)
            for strip in tl.static_range(1, RUN):
                beginnings = beginnings + (sums[strip] + firsts[strip - 1],)
        return sums, beginnings


@triton.jit
def _store_strips(to, sums, beginnings, MASKED: tl.constexpr, scale, RUN: tl.constexpr, STRIDE: tl.constexpr,
                  REST: tl.constexpr, SPLIT: tl.constexpr):  # fmt: skip
    """Write RUN strips of STRIDE columns, of which the first REST have another value."""
    UNROLL: tl.constexpr = RUN * STRIDE // SPLIT <= 64
    COMMON: tl.constexpr = REST // SPLIT
    DONE: tl.constexpr = (REST + SPLIT - 1) // SPLIT
    dtype: tl.constexpr = to[0].dtype.element_ty
    for strip in tl.static_range(RUN):
        rest = (sums[strip] * scale).to(dtype)
        beginning = (beginnings[strip] * scale).to(dtype) if REST > 0 else rest
        if UNROLL:
            for turn in tl.static_range(COMMON):
                _store_column(to, beginning, strip * STRIDE + turn * SPLIT, MASKED)
        else:
            for turn in range(COMMON):
                _store_column(to, beginning, strip * STRIDE + turn * SPLIT, MASKED)
        if DONE > COMMON:
            value = tl.where((to[4] < REST % SPLIT)[:, None], beginning, rest)
            _store_turn(to, value, strip * STRIDE, COMMON, STRIDE, SPLIT, MASKED)
        if UNROLL:
            for turn in tl.static_range(DONE, STRIDE // SPLIT):
                _store_column(to, rest, strip * STRIDE + turn * SPLIT, MASKED)
        else:
            for turn in range(DONE, STRIDE // SPLIT):
                _store_column(to, rest, strip * STRIDE + turn * SPLIT, MASKED)
        if STRIDE % SPLIT > 0 and STRIDE // SPLIT >= DONE:
            _store_turn(to, rest, strip * STRIDE, STRIDE // SPLIT, STRIDE, SPLIT, MASKED)


@triton.jit
def _store_turn(to, value, first, TURN: tl.constexpr, STRIDE: tl.constexpr, SPLIT: tl.constexpr, MASKED: tl.constexpr):
    """Write a turn of the strip that begins at the column `first`, as far as the strip goes."""
    if (TURN + 1) * SPLIT <= STRIDE:
        _store_column(to, value, first + TURN * SPLIT, MASKED)
    else:
        targets, step, place, span, own = to
        some = (targets, step, tl.where(own < STRIDE - TURN * SPLIT, place, NOWHERE), span, own)
        _store_column(some, value, first + TURN * SPLIT, True)


@triton.jit
def _store_column(to, value, column, MASKED: tl.constexpr):
    """Write a column of each lane, if it lies in its row."""
    targets, step, place, span, _ = to
    if MASKED:
        mask = (place + column).to(tl.uint32) < span.to(tl.uint32)
        tl.store(targets + column * step, value, mask=mask[:, None])
    else:
        tl.store(targets + column * step, value)
