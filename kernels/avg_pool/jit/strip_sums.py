"""How `strips` reads: the sums of strips and of their first columns, both from one reading."""

import triton
import triton.language as tl

from .registers import over_threads

UNROLLED_CHUNKS = tl.constexpr(16)  # loads of a strip that are written out; more are looped over, some at once
CHUNKS_AT_ONCE = tl.constexpr(8)  # loads in flight


@triton.jit
def sums_of_strips(sources, step, column, limits, POLICY: tl.constexpr, COLUMNS: tl.constexpr, REST: tl.constexpr,
                   ACC: tl.constexpr):  # fmt: skip
    """Return the sums of the first COLUMNS columns of each strip, and of its first REST; `sources` is [strips, CHUNK].

    Columns are `step` elements apart. `column` are those of the tile, and `limits` where the row ends and between
    which columns of a strip some column is inside a row; what is not, counts as 0. Without them, nothing is masked.
    """
    CHUNK: tl.constexpr = sources.shape[1]
    FULL: tl.constexpr = REST // CHUNK * CHUNK
    total = tl.zeros(sources.shape, ACC)
    total = _add(total, sources, step, column, limits, POLICY, 0, FULL)
    rest = total
    if FULL < REST:
        values = _chunk(sources, step, column, limits, POLICY, FULL, COLUMNS, FULL + CHUNK > COLUMNS, ACC)
        rest += tl.where(tl.arange(0, CHUNK)[None, :] < REST - FULL, values, 0.0)
        total += values
        total = _add(total, sources, step, column, limits, POLICY, FULL + CHUNK, COLUMNS)
    else:
        total = _add(total, sources, step, column, limits, POLICY, FULL, COLUMNS)
    whole = over_threads(total)
    if REST > 0:
        return whole, over_threads(rest)
    else:
        return whole, whole  # Triton 3.6 returns no None


@triton.jit
def sums_of_strip_pieces(sources, first, ends, limits, CUT: tl.constexpr, WIDTH: tl.constexpr, POLICY: tl.constexpr,
                         COLUMNS: tl.constexpr, REST: tl.constexpr, ACC: tl.constexpr):  # fmt: skip
    """Return the sums of each strip's columns from `first` to the two `ends`, by aligned loads of WIDTH elements.

    `sources` is [strips, CHUNK], whose rows begin where such loads do, up to WIDTH - 1 columns before the strip;
    columns are counted from there. What has no column between the two `limits` is not read. Unless CUT, the ends are
    behind all COLUMNS of a strip and its first REST.
    """
    CHUNK: tl.constexpr = sources.shape[1]
    end, end_of_rest = ends
    lane = tl.arange(0, CHUNK)[None, :]
    total = tl.zeros(sources.shape, ACC)
    rest = tl.zeros(sources.shape, ACC)
    for at in tl.static_range(0, COLUMNS + WIDTH - 1, CHUNK):
        column = lane + at
        piece = lane // WIDTH * WIDTH + at
        if limits is not None:
            is_needed = (piece + WIDTH > limits[0][:, None]) & (piece < limits[1][:, None])
            values = tl.load(sources + at, mask=is_needed, other=0.0, eviction_policy=POLICY).to(ACC)
        elif at + CHUNK > COLUMNS:
            values = tl.load(sources + at, mask=piece < end[:, None], other=0.0, eviction_policy=POLICY).to(ACC)
        else:
            values = tl.load(sources + at, eviction_policy=POLICY).to(ACC)
        if CUT or at < WIDTH - 1:
            values = tl.where(column >= first[:, None], values, 0.0)
        if CUT or at + CHUNK > COLUMNS:
            values = tl.where(column < end[:, None], values, 0.0)
        total += values
        if at + CHUNK <= REST and not CUT:
            rest += values
        elif at < REST + WIDTH - 1 and REST > 0:
            rest += tl.where(column < end_of_rest[:, None], values, 0.0)
    whole = over_threads(total)
    if REST > 0:
        return whole, over_threads(rest)
    else:
        return whole, whole


@triton.jit
def _add(total, sources, step, column, limits, POLICY: tl.constexpr, FROM: tl.constexpr, TO: tl.constexpr):
    """Add the columns of each strip from FROM to TO to `total`, [strips, CHUNK]."""
    CHUNK: tl.constexpr = total.shape[1]
    if TO - FROM <= UNROLLED_CHUNKS * CHUNK:
        for at in tl.static_range(FROM, TO, CHUNK):
            total += _chunk(sources, step, column, limits, POLICY, at, TO, at + CHUNK > TO, total.dtype)
    else:
        STEP: tl.constexpr = CHUNKS_AT_ONCE * CHUNK
        if limits is None:
            LAST: tl.constexpr = FROM + (TO - FROM) // STEP * STEP
            for at in range(FROM, LAST, STEP):
                for ahead in tl.static_range(0, STEP, CHUNK):
                    total += _chunk(sources, step, column, limits, POLICY, at + ahead, TO, False, total.dtype)
            for at in tl.static_range(LAST, TO, CHUNK):
                total += _chunk(sources, step, column, limits, POLICY, at, TO, at + CHUNK > TO, total.dtype)
        else:
            _, low, high = limits
            for at in range(tl.maximum(low // CHUNK * CHUNK, FROM), tl.minimum(high, TO), STEP):
                for ahead in tl.static_range(0, STEP, CHUNK):
                    total += _chunk(sources, step, column, limits, POLICY, at + ahead, TO, True, total.dtype)
    return total


@triton.jit
def _chunk(sources, step, column, limits, POLICY: tl.constexpr, at, END: tl.constexpr, ENDS: tl.constexpr,
           ACC: tl.constexpr):  # fmt: skip
    """Load CHUNK columns of each strip from `at` on; 0 after END, which some lie after if ENDS, and outside the row."""
    CHUNK: tl.constexpr = sources.shape[1]
    pointers = sources + at * step
    before_end = at + tl.arange(0, CHUNK)[None, :] < END
    if limits is None:
        if ENDS:
            return tl.load(pointers, mask=before_end, other=0.0, eviction_policy=POLICY).to(ACC)
        else:
            return tl.load(pointers, eviction_policy=POLICY).to(ACC)
    else:
        inside = (column + at).to(tl.uint32) < limits[0].to(tl.uint32)  # a negative one is large
        if ENDS:
            inside = inside & before_end
        return tl.load(pointers, mask=inside, other=0.0, eviction_policy=POLICY).to(ACC)
