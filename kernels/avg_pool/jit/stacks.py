"""Pooling of the transposed layout at stride 1 with wide windows, forward and backward.

A run is BLOCK outputs of a channel. Its windows share all columns but the first and the last BLOCK - 1, and what they
share is whole blocks of BLOCK columns, and a few columns more. A program sums the blocks of many runs once, adds up
those of each window by doubling (sums of 2, 4, 8 blocks and so on, through shared memory), and then gives each thread a
run: suffixes of its own block, and prefixes of what follows the first window. Nothing is subtracted.

Cost per output: about 30 instructions, whatever the window. Chosen if windows are wide.
"""

import triton
import triton.language as tl

from .tiles import blocks, divisor, inverse, reciprocal

STACKED = tl.constexpr(16)  # columns of a block, and outputs of a run: `algorithms/stacks.py` has it too


@triton.jit
def pool_by_stacks(
    x,  # [batch, rows, length], with the strides below, in elements; that of rows is 1
    y,  # [batch, rows, columns]
    rows,
    length,
    columns,
    row_length,  # of the tensor that is pooled, forward
    x_batch_stride,
    x_col_stride,
    y_batch_stride,
    y_col_stride,
    WINDOW: tl.constexpr,
    PADDING: tl.constexpr,  # forward's
    DIVISOR: tl.constexpr,
    IS_BACKWARD: tl.constexpr,
    WIDE: tl.constexpr,  # offsets within a tile need 64 bits
    BLOCKS: tl.constexpr,  # of a program, of all its channels
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
    GAP: tl.constexpr,  # the number of rows, if both tensors are arrays of columns without gaps, else 0
):
    """y[b, r, i] = the sum of x[b, r, i - before :][:WINDOW] / divisor: of the window i, or of each that is read."""
    ACC: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    OFFSET: tl.constexpr = tl.int64 if WIDE else tl.int32
    BEFORE: tl.constexpr = WINDOW - 1 - PADDING if IS_BACKWARD else PADDING
    WITHIN: tl.constexpr = WINDOW // STACKED - 1  # blocks that all windows of a run share
    RUNS: tl.constexpr = BLOCKS // CHANNELS - WITHIN  # that a program writes
    parts = blocks(rows, CHANNELS)
    tiles = blocks(blocks(columns, STACKED), RUNS)
    part = tl.program_id(0) % parts
    tile = tl.program_id(0) // parts
    entry = (tile // tiles).to(tl.int64)
    first = tile % tiles * (RUNS * STACKED)  # output
    start = first - BEFORE
    x_step = tl.cast(GAP if GAP > 0 else x_col_stride, OFFSET)
    y_step = tl.cast(GAP if GAP > 0 else y_col_stride, OFFSET)
    sources = x + entry * x_batch_stride + start.to(tl.int64) * x_col_stride
    targets = y + entry * y_batch_stride + first.to(tl.int64) * y_col_stride
    bounds = (start, length, columns - first, row_length, rows - 1 - part * CHANNELS)
    sources += part * CHANNELS
    targets += part * CHANNELS
    HOW: tl.constexpr = (WINDOW, PADDING, DIVISOR, IS_BACKWARD, BLOCKS, LANES, CHANNELS, ACC)
    end = start + RUNS * STACKED + WINDOW  # of what is read, at most
    inside = (start >= 0) & (end <= length) & (first + RUNS * STACKED <= columns)
    if DIVISOR != "window" and IS_BACKWARD:  # no window that is read is cut by an end of the row
        inside &= (start >= PADDING) & (end - PADDING + WINDOW <= row_length)
    if inside:
        _stacks(sources, targets, x_step, y_step, bounds, False, HOW)
    else:
        _stacks(sources, targets, x_step, y_step, bounds, True, HOW)


@triton.jit
def _stacks(sources, targets, x_step, y_step, bounds, MASKED: tl.constexpr, HOW: tl.constexpr):
    """Write a program's runs; MASKED says whether something may lie outside its row, or a window be cut."""
    WINDOW: tl.constexpr = HOW[0]
    BLOCKS: tl.constexpr = HOW[4]
    LANES: tl.constexpr = HOW[5]
    CHANNELS: tl.constexpr = HOW[6]
    ACC: tl.constexpr = HOW[7]
    WITHIN: tl.constexpr = WINDOW // STACKED - 1
    ITEMS: tl.constexpr = (BLOCKS // CHANNELS - WITHIN) * CHANNELS
    last_channel = bounds[4]
    item = tl.arange(0, BLOCKS)
    block = tl.minimum(item // CHANNELS, BLOCKS // CHANNELS - 1)  # what is left over repeats the last
    own = sources + (block * STACKED).to(x_step.dtype) * x_step + tl.minimum(item % CHANNELS, last_channel)
    total = tl.zeros((BLOCKS,), ACC)
    for column in range(STACKED):
        total += _loaded(own, block * STACKED, column, x_step, bounds, MASKED, HOW)
    shared = _sums_of_next(total, WITHIN, CHANNELS)
    for begin in range(0, ITEMS, LANES):
        own_item = begin + tl.arange(0, LANES)
        run = own_item // CHANNELS
        place = tl.where(own_item < ITEMS, run, 0) * STACKED
        channel = tl.minimum(own_item - run * CHANNELS, last_channel)
        lanes = sources + place.to(x_step.dtype) * x_step + channel
        inner = tl.gather(shared, tl.minimum(own_item, BLOCKS - 1), 0)
        for more in tl.static_range((WITHIN + 1) * STACKED, WINDOW):
            inner += _loaded(lanes, place, more, x_step, bounds, MASKED, HOW)
        suffix = _loaded(lanes, place, STACKED - 1, x_step, bounds, MASKED, HOW)
        suffixes = (suffix,)
        for back in tl.static_range(2, STACKED + 1):
            suffix += _loaded(lanes, place, STACKED - back, x_step, bounds, MASKED, HOW)
            suffixes = (suffix,) + suffixes
        # All before the first store: a load behind a store waits for what is stored, as it may read it.
        nexts = ()
        for output in tl.static_range(STACKED - 1):
            nexts = nexts + (_loaded(lanes, place, WINDOW + output, x_step, bounds, MASKED, HOW),)
        room = tl.where(own_item < ITEMS, bounds[2] - place, 0)
        to = targets + place.to(y_step.dtype) * y_step + channel
        for output in tl.static_range(STACKED):
            if output > 0:
                inner += nexts[output - 1]
            mean = (inner + suffixes[output]) * _factor(place + output, bounds, MASKED, HOW)
            tl.store(to + output * y_step, mean.to(targets.dtype.element_ty), mask=room > output)


@triton.jit
def _loaded(pointers, place, column, step, bounds, MASKED: tl.constexpr, HOW: tl.constexpr):
    """Load a column, counted from each lane's place; 0 outside the row. A gradient is divided as its window was."""
    ACC: tl.constexpr = HOW[7]
    if MASKED:
        start, length, _, row_length, _ = bounds
        at = start + place + column
        value = tl.load(pointers + column * step, mask=at.to(tl.uint32) < tl.cast(length, tl.uint32), other=0.0).to(ACC)
        if HOW[3] and HOW[2] != "window":
            value *= reciprocal(divisor(at - HOW[1], HOW[0], 0, row_length, row_length + HOW[1], HOW[2]), ACC)
        return value
    else:
        return tl.load(pointers + column * step).to(ACC)


@triton.jit
def _factor(place, bounds, MASKED: tl.constexpr, HOW: tl.constexpr):
    """Return what the sum at a place is multiplied with."""
    if not MASKED or HOW[2] == "window":
        return inverse(HOW[0], HOW[0], HOW[7])
    elif HOW[3]:
        return 1.0
    else:
        start, length, _, _, _ = bounds
        return reciprocal(divisor(start + place, HOW[0], 0, length, length + HOW[1], HOW[2]), HOW[7])


@triton.jit
def _sums_of_next(total, COUNT: tl.constexpr, STEP: tl.constexpr):
    """Return the sums of the COUNT elements that follow each, STEP apart; those at the end are something else."""
    SIZE: tl.constexpr = total.shape[0]
    item = tl.arange(0, SIZE)
    sums = tl.zeros(total.shape, total.dtype)
    for bit in tl.static_range(13):
        if (COUNT >> bit) % 2 == 1:
            sums += tl.gather(total, (item + (1 + COUNT - ((COUNT >> bit) << bit)) * STEP) % SIZE, 0)
        if (COUNT >> bit) > 1:
            total += tl.gather(total, (item + (1 << bit) * STEP) % SIZE, 0)
    return sums
