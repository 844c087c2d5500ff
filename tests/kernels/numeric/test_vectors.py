"""Accesses of 16 bytes: tiles inside rows, across walls between them, and where rows have groups of their own."""

import math

import pytest
import torch

from tests.conftest import DEVICE, runs_kernels
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.algorithms import tiling, vectors
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.launch import backward_launch, forward_launch
from tunedb.kernels.geometry import Window

from .test_pooling import assert_near, laid_out, torch_gradient, torch_pool

pytestmark = runs_kernels

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
SPARE, UNTOUCHED = 64, 7.0
ARRAY, OWN_GROUPS, IN_PIECES, FOUR, EIGHT = 0, 1, 2, 4, 8


def into_the_middle_of_memory(shape: tuple[int, ...], dtype: torch.dtype, offset: int) -> tuple[torch.Tensor, ...]:
    """A contiguous tensor full of NaN, and the memory before and behind it, full of UNTOUCHED."""
    size = math.prod(shape)
    memory = torch.full((size + 2 * SPARE,), UNTOUCHED, dtype=dtype, device=DEVICE)
    begin = SPARE + offset
    written = memory[begin : begin + size].view(shape).fill_(math.nan)
    return written, memory[:begin], memory[begin + size :]


CASES = [
    # One array, read and written alike: a group's windows begin at the same place on both sides of a wall.
    (Window(3, 1, 1), 65, BF16, "contiguous", 0, 64, ARRAY),
    (Window(7, 1, 3, count_include_pad=False), 61, F16, "contiguous", 0, 64, ARRAY),
    (Window(5, 2, 2), 120, BF16, "odd offset", 0, 64, ARRAY),
    (Window(3, 1, 1, count_include_pad=False), 32, F32, "contiguous", 1, 32, ARRAY),
    (Window(13, 1, 6, count_include_pad=False), 41, F64, "contiguous", 1, 64, ARRAY),
    # Rows of what is written are shorter or longer than those of what is read.
    (Window(2, 1), 131, F16, "contiguous", 0, 64, ARRAY),
    (Window(8, 1, 4), 75, F16, "odd offset", 3, 64, ARRAY),
    (Window(20, 1, 10, count_include_pad=False), 97, BF16, "contiguous", 1, 32, ARRAY),
    (Window(6, 4, 2, ceil_mode=True), 123, F32, "contiguous", 2, 32, ARRAY),
    (Window(3, 2, 1, ceil_mode=True, count_include_pad=False), 130, F16, "odd offset", 1, 32, ARRAY),
    # Rows with gaps between them, several batch entries, and rows that are shorter than a group.
    (Window(3, 1, 1), 41, F16, "every second row", 1, 64, OWN_GROUPS),
    (Window(8, 1, 3, count_include_pad=False), 30, F32, "expanded rows", 0, 32, OWN_GROUPS),
    (Window(3, 1, 1), 5, F16, "contiguous", 0, 64, OWN_GROUPS),
    (Window(13, 11), 90, BF16, "every second row", 1, 16, OWN_GROUPS),
    (Window(25, 25, 12, ceil_mode=True), 93, F16, "contiguous", 0, 16, OWN_GROUPS),
    # Rows of whole pieces of 16 bytes, whose groups begin at one or several places of these, and of narrower pieces.
    (Window(3, 1, 1), 64, F16, "contiguous", 0, 64, IN_PIECES),
    (Window(9, 1, 4, count_include_pad=False), 16, BF16, "every second row", 0, 256, IN_PIECES),
    (Window(4, 2, 1, ceil_mode=True), 24, F32, "contiguous", 0, 32, IN_PIECES),
    (Window(5, 1, 2, count_include_pad=False), 200, F32, "expanded rows", 0, 64, IN_PIECES),
    (Window(21, 11, 10, count_include_pad=False), 416, F16, "contiguous", 0, 16, IN_PIECES),
    (Window(5, 1, 2), 36, BF16, "contiguous", 0, 64, IN_PIECES),
    (Window(3, 2, 1, ceil_mode=True, count_include_pad=False), 18, BF16, "contiguous", 0, 32, IN_PIECES),
    (Window(3, 1, 1), 65, F32, "every second row", 0, 32, IN_PIECES),
    (Window(9, 5), 80, F32, "contiguous", 0, 16, IN_PIECES),
    (Window(3, 1, 1, count_include_pad=False), 2, F64, "contiguous", 0, 16, IN_PIECES),
    # Rows that are long enough for groups at their ends to be written after the others.
    (Window(7, 1, 3, count_include_pad=False), 261, F16, "contiguous", 0, 64, FOUR),
    (Window(3, 1, 1, count_include_pad=False), 160, F32, "contiguous", 2, 128, EIGHT),
    (Window(8, 1, 4), 131, F16, "odd offset", 3, 128, EIGHT),
    (Window(8, 1), 223, BF16, "every second row", 1, 256, FOUR),
    (Window(13, 1, 6), 250, F64, "contiguous", 1, 64, FOUR),
    (Window(5, 1, 2, count_include_pad=False), 200, F32, "expanded rows", 1, 64, FOUR),
    (Window(5, 2, 2, ceil_mode=True), 401, BF16, "contiguous", 0, 512, EIGHT),
    (Window(3, 3), 500, F16, "odd offset", 5, 64, FOUR),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_of_nan_stay_among_themselves_and_nothing_else_is_written(
    case: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, length, dtype, layout, offset, block, ends = case
    if ends >= vectors.APART:
        monkeypatch.setattr(vectors, "GROUPS_IF_APART", (ends,))
        monkeypatch.setattr(vectors, "LEAST_APART", 0)
    config = Config.of(ALGORITHM="vectors", BLOCK_OUT=block, ROWS_PER_PROG=1, num_warps=1)
    columns = window.output_length(length)
    for is_backward in (False, True) if window.stride == 1 else (False,):
        read = laid_out(layout, 2, 3, columns if is_backward else length, dtype)
        if layout != "expanded rows":
            read[:, 1::2] = math.nan
        shape = (2, 3, length if is_backward else columns)
        written, before, behind = into_the_middle_of_memory(shape, dtype, offset)
        build = backward_launch if is_backward else forward_launch
        launch = build(read, written, window, config)
        assert launch.constants["ALGORITHM"] == "vectors"
        assert launch.constants["SHORT"] == ends
        launch()
        exact = torch_gradient(read, length, window) if is_backward else torch_pool(read.double(), window)
        assert_near(written, exact)
        assert (before == UNTOUCHED).all()
        assert (behind == UNTOUCHED).all()


def constants_of(case: Case, are_aligned: tuple[bool, bool] = (True, True)) -> dict[str, object]:
    return tiling("vectors", (64, 1), case, are_aligned, True)[1]


def test_the_shift_is_known_where_rows_are_read_and_written_alike() -> None:
    def is_known(length: int, columns: int, window: tuple[int, int, int]) -> object:
        return constants_of(Case(False, "rows", 2, 1, 9, length, columns, *window))["ALIGNED"]

    assert is_known(65, 65, (3, 1, 1))
    assert is_known(1000, 500, (5, 2, 2))
    assert not is_known(771, 770, (2, 1, 0))
    assert not constants_of(Case(False, "rows", 2, 1, 9, 65, 65, 3, 1, 1), (False, True))["ALIGNED"]


def test_places_need_64_bits_only_in_large_arrays_and_in_several_entries() -> None:
    assert not constants_of(Case(False, "rows", 2, 1, 2**20, 1024, 1024, 3, 1, 1))["WIDE"]
    assert constants_of(Case(False, "rows", 2, 1, 2**21, 1024, 1024, 3, 1, 1))["WIDE"]
    assert constants_of(Case(False, "rows", 2, 2, 9, 65, 65, 3, 1, 1))["WIDE"]
