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
def sums_of_strip_pieces(starts, shift, row, CUT: tl.constexpr, CHUNK: tl.constexpr, WIDTH: tl.constexpr,
                         POLICY: tl.constexpr, COLUMNS: tl.constexpr, REST: tl.constexpr,
                         ACC: tl.constexpr):  # fmt: skip
    """Return the sums of the first COLUMNS columns of each strip, and of its first REST, by loads of WIDTH elements.

    `starts` is where such loads are aligned, `shift` columns before each strip; columns are counted from there. `row`
    is between which of them the strip's row lies: what is outside counts as 0. Without it, nothing is. Only if CUT, an
    aligned load may be partly outside: its columns in the row are then read one by one.
    """
    lane = tl.arange(0, CHUNK)[None, :]
    sources = starts[:, None] + lane
    end, end_of_rest = (shift + COLUMNS)[:, None], (shift + REST)[:, None]
    total = tl.zeros(sources.shape, ACC)
    rest = tl.zeros(sources.shape, ACC)
    if row is not None:
        pieces = tl.maximum(row[1] - row[0] - (WIDTH - 1), 0)  # columns that begin one that lies in the row as a whole
    for at in tl.static_range(0, COLUMNS + WIDTH - 1, CHUNK):
        column = lane + at
        piece = lane // WIDTH * WIDTH + at
        if row is not None:
            is_needed = (piece - row[0][:, None]).to(tl.uint32) < pieces[:, None].to(tl.uint32)
            if at + CHUNK > COLUMNS:
                is_needed = is_needed & (piece < end)
            values = tl.load(sources + at, mask=is_needed, other=0.0, eviction_policy=POLICY).to(ACC)
        elif at + CHUNK > COLUMNS:
            values = tl.load(sources + at, mask=piece < end, other=0.0, eviction_policy=POLICY).to(ACC)
        else:
            values = tl.load(sources + at, eviction_policy=POLICY).to(ACC)
        if at < WIDTH - 1:
            values = tl.where(column >= shift[:, None], values, 0.0)
        if at + CHUNK > COLUMNS:
            values = tl.where(column < end, values, 0.0)
        total += values
        if at + CHUNK <= REST:
            rest += values
        elif at < REST + WIDTH - 1 and REST > 0:
            rest += tl.where(column < end_of_rest, values, 0.0)
    if CUT and row is not None:
        low, high = row
        first_piece, last_piece = low & -WIDTH, high & -WIDTH
        first_piece = tl.where(first_piece < low, first_piece, -WIDTH)  # unless it lies in the row as a whole
        last_piece = tl.where(last_piece >= low, last_piece, -WIDTH)
        begin = tl.maximum(low, shift)
        columns = tl.maximum(tl.minimum(high, shift + COLUMNS) - begin, 0)
        for at in tl.static_range(0, 2 * WIDTH, CHUNK):
            part = lane // WIDTH + at // WIDTH
            piece = tl.where(part == 0, first_piece[:, None], tl.where(part == 1, last_piece[:, None], -WIDTH))
            column = piece + lane % WIDTH
            inside = (column - begin[:, None]).to(tl.uint32) < columns[:, None].to(tl.uint32)
            values = tl.load(starts[:, None] + column, mask=inside, other=0.0).to(ACC)
            total += values
            if REST > 0:
                rest += tl.where(column < end_of_rest, values, 0.0)
    whole = over_threads(total)
    if REST > 0:
        return whole, over_threads(rest)
    else:
        return whole, whole  # Triton 3.6 returns no None


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
