"""The places of runs of the transposed layout: which columns and channels each lane of `columns` has."""

import triton
import triton.language as tl

from .tiles import blocks, in_short_rows

UNITS_TOGETHER = tl.constexpr(64)  # units that the lanes of one run may have: `columns_tiling` counts on it


@triton.jit
def items_of_runs(batch, runs, units, SPLIT: tl.constexpr, SHORT: tl.constexpr, LANES: tl.constexpr):
    """Number the items of runs through: return the program's batch entry, first and last run, whether it has LANES
    items, and of each its entry and run (counted from the first), column, and unit of channels, and whether it exists.
    """
    per_run = units * SPLIT
    lane = tl.arange(0, LANES)
    if SHORT:
        per_entry = runs * per_run
        first = tl.program_id(0) * LANES
        entry = first // per_entry
        entries, item = in_short_rows(first - entry * per_entry + lane, per_entry)
        run, place = in_short_rows(item, per_run)
        held = entries < batch - entry
        first_run = first * 0
        last_run = first_run + (runs - 1)
        whole = first + LANES <= batch * per_entry
    else:
        tiles = blocks(runs * per_run, LANES)
        entry = tl.program_id(0) // tiles
        first = tl.program_id(0) % tiles * LANES
        first_run = first // per_run
        run, place = in_short_rows(first - first_run * per_run + lane, per_run)
        held = run < runs - first_run
        last_run = (first + (LANES - 1)) // per_run
        whole = first + LANES <= runs * per_run
        entries = run * 0
    if SPLIT > 1:
        own, unit = in_short_rows(place, units)
    else:
        own = place * 0
        unit = place
    return entry, first_run, last_run, whole, (entries, run, own, unit, held)


@triton.jit
def one_run(runs, units, SPLIT: tl.constexpr, LANES: tl.constexpr):
    """Return what `items_of_runs` does for a program with one run, whose lanes are SPLIT columns of some units.

    Returned is also how many units it has. Lanes that are left over repeat the last column.
    """
    programs = blocks(units, UNITS_TOGETHER)
    together = blocks(units, programs)
    own, place = in_short_rows(tl.arange(0, LANES), together)
    unit, _ = units_of_program(place, units, together)
    block = tl.program_id(0) // programs
    run = block % runs
    none = own * 0
    return block // runs, run, run, run >= 0, (none, none, tl.minimum(own, SPLIT - 1), unit, none == 0), together


@triton.jit
def units_of_program(place, units, together):
    """Return the units of channels of a program that has one run, and which of them exist; the others repeat one."""
    unit = tl.program_id(0) % blocks(units, together) * together + place
    return tl.minimum(unit, units - 1), (place < together) & (unit < units)


@triton.jit
def joined(total, together, SPLIT: tl.constexpr):
    """Sum lanes that have the same channel, of SPLIT columns of so many units."""
    if SPLIT == 1:
        return total
    else:
        LANES: tl.constexpr = total.shape[0]
        TOGETHER: tl.constexpr = total.shape[1]
        UNITS: tl.constexpr = triton.next_power_of_2(LANES // SPLIT)
        COLUMNS: tl.constexpr = triton.next_power_of_2(SPLIT)
        own = tl.arange(0, COLUMNS)[:, None]
        index = tl.minimum(own * (together * TOGETHER) + tl.arange(0, UNITS * TOGETHER)[None, :], LANES * TOGETHER - 1)
        index = tl.reshape(index, (COLUMNS * UNITS * TOGETHER,))
        found = tl.reshape(tl.gather(tl.reshape(total, (LANES * TOGETHER,)), index, 0), (COLUMNS, UNITS * TOGETHER))
        return tl.reshape(tl.sum(tl.where(own < SPLIT, found, 0.0), axis=0), (UNITS, TOGETHER))


@triton.jit
def pointers_to_units(pointer, entry, entries, batch_stride, first, column, col_stride, unit, TOGETHER: tl.constexpr,
                      SHORT: tl.constexpr, WIDE: tl.constexpr, GAP: tl.constexpr):  # fmt: skip
    """Return pointers to units' channels in columns that are counted from the column `first` of the batch entry
    `entry`, [lanes, TOGETHER], and the stride of columns. Entries are counted from `entry`.
    """
    OFFSET: tl.constexpr = tl.int64 if WIDE else tl.int32
    step = tl.cast(GAP if GAP > 0 else col_stride, OFFSET)
    offset = entry.to(tl.int64) * batch_stride + first.to(tl.int64) * col_stride
    at = column.to(OFFSET) * step + unit * TOGETHER
    if SHORT:
        at += entries.to(OFFSET) * tl.cast(batch_stride, OFFSET)
    if TOGETHER > 1:  # said of numbers: of a pointer it is lost once more is added to it
        step = step // TOGETHER * TOGETHER  # of an argument it cannot be said
        offset = tl.multiple_of(offset, TOGETHER)
        at = tl.multiple_of(at, TOGETHER)
    return pointer + offset + (at[:, None] + tl.arange(0, TOGETHER)[None, :]), step
