"""Columns of rows that begin anywhere, by aligned 16-byte loads whose columns are put right in registers.

A load of 16 bytes has to lie at a multiple of 16 bytes, but the columns that a group of outputs needs begin anywhere
in the first of its pieces: `shift` elements into it. A few selections on 32-bit words, one for each bit of the shift,
move them to where they are wanted. That costs about two instructions for each word, and one copy of the code serves all
shifts. All tiles are [groups], each of whose elements lies with its whole pieces in one thread.
"""

import triton
import triton.language as tl

from .registers import columns_of


@triton.jit
def place_in(pointer, COUNT: tl.constexpr):
    """Return how many elements a scalar pointer lies behind a multiple of COUNT elements in memory."""
    SIZE: tl.constexpr = pointer.dtype.element_ty.primitive_bitwidth // 8
    return (pointer.to(tl.int64) & (COUNT * SIZE - 1)).to(tl.int32) // SIZE


@triton.jit
def load_words(base, piece, bounds, PIECES: tl.constexpr, BYTES: tl.constexpr = 16):
    """Return the words of PIECES pieces of BYTES as a tuple of columns, from piece `piece` of each group on.

    `base` points to a multiple of BYTES, from which pieces are counted: one for all, or one for each group. Words
    are integers of 32 bits that hold two elements each if these have 2 bytes, or of the size of an element. `bounds`
    say between which two places, counted in elements from the group's first piece, something is wanted; pieces without
    any of it are not loaded, and are 0. If they are only the second place, all pieces but the last are wanted anyway.
    If they are three, the first two say where in a row of whole pieces the first piece lies, and how long that row is.
    """
    SIZE: tl.constexpr = base.dtype.element_ty.primitive_bitwidth // 8
    WIDTH: tl.constexpr = BYTES // SIZE
    WORDS: tl.constexpr = min(WIDTH, BYTES // 4)
    # What is said about an argument's address is lost: it has to be said about what is made here.
    words = tl.multiple_of(base.to(tl.pointer_type(tl.int64 if SIZE == 8 else tl.int32), bitcast=True), BYTES)
    words = (words + piece * WORDS)[:, None] + tl.arange(0, WORDS)[None, :]
    columns = ()
    for ahead in tl.static_range(PIECES):
        if bounds is None or (len(bounds) == 1 and ahead < PIECES - 1):
            loaded = tl.load(words + ahead * WORDS)
        elif len(bounds) == 1:
            loaded = tl.load(words + ahead * WORDS, mask=(bounds[0] > ahead * WIDTH)[:, None], other=0)
        elif len(bounds) == 3:
            wanted = (bounds[0] + ahead * WIDTH).to(tl.uint32) < tl.cast(bounds[1], tl.uint32)
            loaded = tl.load(words + ahead * WORDS, mask=wanted[:, None], other=0)
        else:
            wanted = (bounds[0] < (ahead + 1) * WIDTH) & (bounds[1] > ahead * WIDTH)
            loaded = tl.load(words + ahead * WORDS, mask=wanted[:, None], other=0)
        columns = columns + columns_of(loaded)
    return columns


@triton.jit
def shifted(words, shift, SHIFT: tl.constexpr, COUNT: tl.constexpr, dtype: tl.constexpr):
    """Return COUNT columns as a tuple, in float32 (float64 if the `dtype` is), the first `shift` elements into `words`.

    `shift`, less than the elements of 16 bytes, is a scalar or one number for each group. If it is a constant, SHIFT is
    that, else -1.
    """
    PER_WORD: tl.constexpr = 2 if dtype.primitive_bitwidth == 16 else 1
    moved = words
    FIRST: tl.constexpr = max(SHIFT, 0)
    if SHIFT < 0:
        NEEDED: tl.constexpr = (COUNT + PER_WORD - 1) // PER_WORD  # words
        if dtype.primitive_bitwidth < 64:
            moved = _moved(moved, (shift & (2 * PER_WORD)) != 0, 2, NEEDED + PER_WORD)
        moved = _moved(moved, (shift & PER_WORD) != 0, 1, NEEDED + PER_WORD - 1)
        if PER_WORD == 2:
            moved = _moved_by_half(moved, (shift & 1) * 16, NEEDED)
    columns = ()
    for column in tl.static_range(FIRST, FIRST + COUNT):
        columns = columns + (_element(moved[column // PER_WORD], column % PER_WORD, dtype),)
    return columns


@triton.jit
def _moved(words, is_on, BY: tl.constexpr, COUNT: tl.constexpr):
    """Return COUNT words: where `is_on` those from the word BY on, else the first."""
    moved = ()
    for word in tl.static_range(COUNT):
        if word + BY < len(words):
            moved = moved + (tl.where(is_on, words[word + BY], words[word]),)
        elif word < len(words):  # no shift needs what would follow
            moved = moved + (words[word],)
    return moved


@triton.jit
def _moved_by_half(words, bits, COUNT: tl.constexpr):
    """Return COUNT words that begin 0 or 16 `bits` into the first."""
    amount = bits.to(tl.uint32)
    moved = ()
    for word in tl.static_range(COUNT):
        low = words[word].to(tl.uint32, bitcast=True)
        if word + 1 < len(words):  # written so that it is compiled into one instruction, a funnel shift
            high = words[word + 1].to(tl.uint32, bitcast=True)
            low = tl.where(amount == 0, low, (low >> amount) | (high << (32 - amount)))
        else:
            low = low >> amount
        moved = moved + (low.to(tl.int32, bitcast=True),)
    return moved


@triton.jit
def _element(word, PLACE: tl.constexpr, dtype: tl.constexpr):
    """Return the element at PLACE of each word."""
    if dtype == tl.bfloat16:  # the upper half of a float32
        bits = word & -65536 if PLACE == 1 else word << 16
        return bits.to(tl.float32, bitcast=True)
    elif dtype == tl.float16:
        bits = word >> 16 if PLACE == 1 else word
        return bits.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    else:
        return word.to(dtype, bitcast=True)
