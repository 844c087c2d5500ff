"""Sums of windows from sums of strips: of several consecutive values of a vector, by exchanges between threads."""

import triton
import triton.language as tl

from .registers import columns_of, tile_of


@triton.jit
def windows_of_strips(whole, rest, WHOLE: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr):
    """Sum the WHOLE strips from each on, and the `rest` of the next: the window that begins there."""
    if WHOLE == 0:
        return whole
    elif WHOLE >= 2 * GROUP and GROUP > 1 and whole.shape[0] > GROUP:
        return _of_long_windows(whole, rest, WHOLE, REST, GROUP)
    else:
        total = _run(whole, WHOLE)
        if REST > 0:
            total += _ahead(rest, WHOLE)
        return total


@triton.jit
def _of_long_windows(whole, rest, WHOLE: tl.constexpr, REST: tl.constexpr, GROUP: tl.constexpr):
    """Return `windows_of_strips` by groups of GROUP strips in a thread, which takes that many times fewer exchanges.

    A window is a suffix of its group, some whole groups, and a prefix of the group that it ends in.
    """
    GROUPS: tl.constexpr = whole.shape[0] // GROUP
    END: tl.constexpr = WHOLE // GROUP  # the group that the first window of a group ends in
    MORE: tl.constexpr = WHOLE % GROUP  # its strips in that group
    strips = columns_of(tl.reshape(whole, (GROUPS, GROUP)))
    prefixes = (strips[0],)  # of 1 to GROUP strips
    for strip in tl.static_range(1, GROUP):
        prefixes = prefixes + (prefixes[strip - 1] + strips[strip],)
    between = _ahead(_run(prefixes[GROUP - 1], END - 1), 1)
    ends = prefixes  # of windows, by how many strips they have in their last group, modulo GROUP
    if REST > 0:
        rests = columns_of(tl.reshape(rest, (GROUPS, GROUP)))
        ends = (rests[0],)
        for strip in tl.static_range(1, GROUP):
            ends = ends + (prefixes[strip - 1] + rests[strip],)
    else:
        ends = (prefixes[GROUP - 1],) + prefixes
    suffix = strips[GROUP - 1]
    sums = ()
    longer = between + _ahead(prefixes[GROUP - 1], END)
    for back in tl.static_range(1, GROUP + 1):
        if back > 1:
            suffix = strips[GROUP - back] + suffix
        total = suffix + (longer if GROUP - back + MORE >= GROUP else between)
        if REST > 0 or (GROUP - back + MORE) % GROUP > 0:
            total += _ahead(ends[(GROUP - back + MORE) % GROUP], END + (GROUP - back + MORE) // GROUP)
        sums = (total,) + sums
    return tl.reshape(tile_of(sums), (GROUPS * GROUP,))


@triton.jit
def _run(values, COUNT: tl.constexpr):
    """Sum COUNT values from each on, 1 or more; of those that not as many follow, any value."""
    if COUNT == 1:
        return values
    else:
        total = tl.zeros(values.shape, values.dtype)
        for bit in tl.static_range(20):
            if COUNT >> bit & 1 > 0:  # the sum has as many values as the lower bits say
                total += _ahead(values, COUNT % (1 << bit))
            if COUNT >> bit > 1:
                values += _ahead(values, 1 << bit)
        return total


@triton.jit
def _ahead(values, BY: tl.constexpr):
    """Return for each place the value BY places further on; for the last ones, any value."""
    COUNT: tl.constexpr = values.shape[0]
    if BY == 0:
        return values
    else:
        return tl.gather(values, tl.minimum(tl.arange(0, COUNT) + BY, COUNT - 1), 0)
