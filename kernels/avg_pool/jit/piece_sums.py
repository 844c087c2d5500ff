"""Sums of the pieces that follow each group's own, from those of other threads. See `pieces.py`."""

import triton
import triton.language as tl

from .loaded_pieces import PRECISION, SHIFT_IF_FIXED, SIZE_OF_WINDOW, STEP_IN_PIECES, piece_of
from .registers import columns_of


@triton.jit
def total_of(columns, COUNT: tl.constexpr):
    """Add the first COUNT columns."""
    total = columns[0]
    for column in tl.static_range(1, COUNT):
        total += columns[column]
    return total


@triton.jit
def chained(power, total, COUNT: tl.constexpr, STEP: tl.constexpr, HAS_TOTAL: tl.constexpr, OWN: tl.constexpr,
            OF_ROW: tl.constexpr):  # fmt: skip
    """Return the sum of COUNT of the sums `power`, each of STEP pieces, and of the `total` of what follows.

    The first of them is the group's own if OWN is 1, else the next one. A row has OF_ROW groups; the last of them, as
    many as pieces are added, get sums of use only if the last piece is 0. One exchange between threads, of four sums
    each, makes sums of four or five times as many pieces, and adds a digit of COUNT to the total.
    """
    BASE: tl.constexpr = 4 + OWN
    DIGIT: tl.constexpr = COUNT % BASE
    TERMS: tl.constexpr = DIGIT - OWN  # that come from others
    IS_LAST: tl.constexpr = COUNT < BASE
    IS_MOVED: tl.constexpr = HAS_TOTAL and TERMS >= 0
    READ: tl.constexpr = TERMS if IS_LAST else 4
    if IS_LAST and TERMS == 0 and not HAS_TOTAL:
        return power
    elif IS_LAST and TERMS == 0:
        return power + _later(total, 1, STEP, OF_ROW)[0]
    else:
        moved_total = total
        if IS_MOVED:
            powers, moved_total = _both_later(power, total, READ, TERMS, STEP, OF_ROW)
        else:
            powers = _later(power, READ, STEP, OF_ROW)
        # All whose sum is wanted, the group's own first.
        terms = ()
        if DIGIT > 0 and OWN == 1:
            terms = terms + (power,)
        for term in tl.static_range(TERMS):
            terms = terms + (powers[term],)
        if HAS_TOTAL:
            terms = terms + (moved_total,)
        if IS_LAST:
            return total_of(terms, len(terms))
        else:
            next_power = total_of(powers, 4)
            if OWN == 1:
                next_power = power + next_power
            if len(terms) > 0:
                return chained(next_power, total_of(terms, len(terms)), COUNT // BASE, STEP * BASE, True, 1, OF_ROW)
            else:
                return chained(next_power, next_power, COUNT // BASE, STEP * BASE, False, 1, OF_ROW)


@triton.jit
def _later(values, COUNT: tl.constexpr, STEP: tl.constexpr, OF_ROW: tl.constexpr):
    """Return the values of the groups STEP, 2 * STEP, ... later as a tuple of COUNT vectors, by one exchange."""
    GROUPS: tl.constexpr = values.shape[0]
    READ: tl.constexpr = triton.next_power_of_2(COUNT)  # nothing is read for what is not used
    index = tl.arange(0, READ * GROUPS)
    later = _within_row(index % GROUPS, (index // GROUPS + 1) * STEP, GROUPS, OF_ROW)
    return columns_of(tl.trans(tl.reshape(tl.gather(values, later, 0), (READ, GROUPS))))


@triton.jit
def _both_later(powers, totals, COUNT: tl.constexpr, TERMS: tl.constexpr, STEP: tl.constexpr, OF_ROW: tl.constexpr):
    """Return `_later` of the powers, and the total TERMS + 1 steps later, by one exchange.

    Two arrays of 32 bits, because 32 lanes that read from one of 64 bits meet in the banks of shared memory.
    """
    GROUPS: tl.constexpr = powers.shape[0]
    if COUNT > 3:  # a tuple of eight columns would cost another exchange
        return _later(powers, COUNT, STEP, OF_ROW), _later(totals, 1, (TERMS + 1) * STEP, OF_ROW)[0]
    else:
        READ: tl.constexpr = triton.next_power_of_2(COUNT + 1)
        index = tl.arange(0, READ * GROUPS)
        turn = index // GROUPS
        later = _within_row(index % GROUPS, (tl.where(turn < COUNT, turn, TERMS) + 1) * STEP, GROUPS, OF_ROW)
        later += tl.where(turn < COUNT, 0, GROUPS)
        both = tl.reshape(tl.trans(tl.join(powers, totals)), (2 * GROUPS,))
        columns = columns_of(tl.trans(tl.reshape(tl.gather(both, later, 0), (READ, GROUPS))))
        return columns, columns[COUNT]


@triton.jit
def _within_row(index, ahead, GROUPS: tl.constexpr, OF_ROW: tl.constexpr):
    """Return the groups so far ahead, or the last one of the row."""
    if OF_ROW == GROUPS:
        return tl.minimum(index + ahead, GROUPS - 1)
    else:
        return tl.minimum(index + ahead, index | (OF_ROW - 1))


@triton.jit
def added_by_scans(edge, shift, piece, bounds, POOLING: tl.constexpr):
    """Return for all groups the sum of the pieces that follow their own, and the beginning of the next.

    They are a suffix of their block of SHARING groups, a core that the block shares, and a prefix of what follows.
    """
    WIDTH: tl.constexpr = 128 // edge.dtype.element_ty.primitive_bitwidth
    WHOLE: tl.constexpr = POOLING[SIZE_OF_WINDOW] // WIDTH - 1
    REST: tl.constexpr = POOLING[SIZE_OF_WINDOW] % WIDTH
    GROUPS: tl.constexpr = piece.shape[0]
    SHARING: tl.constexpr = min(GROUPS, triton.next_power_of_2(WHOLE + 1) // 2)
    CORE: tl.constexpr = WHOLE - SHARING + 1
    index = tl.arange(0, GROUPS)
    within = index % SHARING
    suffix = tl.reshape(tl.cumsum(tl.reshape(piece, (GROUPS // SHARING, SHARING)), axis=1, reverse=True), (GROUPS,))
    after = piece_of(edge, shift, (WHOLE + 1) * WIDTH, WIDTH, index, None, bounds, POOLING)
    prefix = total_of(after, WIDTH)
    prefix = tl.reshape(tl.cumsum(tl.reshape(prefix, (GROUPS // SHARING, SHARING)), axis=1), (GROUPS,))
    between = tl.where(within < SHARING - 1, tl.gather(suffix, tl.minimum(index + 1, GROUPS - 1), 0), 0.0)
    between += tl.where(within > 0, tl.gather(prefix, tl.maximum(index - 1, 0), 0), 0.0)
    core = tl.zeros((GROUPS,), POOLING[PRECISION])
    for turn in range((CORE + SHARING - 1) // SHARING):  # each group adds one piece
        ahead = (turn + 1) * SHARING * WIDTH
        there = bounds
        if bounds is not None:
            there = (bounds[0] - ahead, bounds[1] - ahead, bounds[2] - ahead)
        mine = within < CORE - turn * SHARING
        there_edge = edge + ahead * (shift if POOLING[SHIFT_IF_FIXED] == -2 else POOLING[STEP_IN_PIECES])
        core += total_of(piece_of(there_edge, shift, 0, WIDTH, index, mine, there, POOLING), WIDTH)
    core = tl.sum(tl.reshape(core, (GROUPS // SHARING, SHARING)), axis=1, keep_dims=True)
    between += tl.reshape(tl.broadcast_to(core, (GROUPS // SHARING, SHARING)), (GROUPS,))
    if REST > 0:
        between += total_of(after, REST)
    return between
