"""Wide windows at stride 1 as sums of pieces: tiles inside rows and at their ends, by exchanges and by scans."""

import math

import pytest
import torch

from tests.conftest import INTERPRETED, runs_kernels
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.algorithms import pieces
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.algorithms.pieces import written_by
from tunedb.kernels.geometry import Window

from .test_pooling import assert_near, laid_out, pool, spread, torch_gradient, torch_pool

pytestmark = runs_kernels

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
BY_EXCHANGES, BY_SCANS = 64, 16  # groups of a tile


def check(layout: str, length: int, window: Window, dtype: torch.dtype, groups: int) -> None:
    """Compare both directions with torch's; rows of NaN lie between rows of numbers."""
    block = groups * (16 // dtype.itemsize)
    config = Config.of(ALGORITHM="pieces", BLOCK_OUT=block, ROWS_PER_PROG=1, num_warps=1)
    x, grad_y = (laid_out(layout, 1, 3, columns, dtype) for columns in (length, window.output_length(length)))
    for read in (x, grad_y):
        if 0 not in read.stride():
            read[:, 1] = math.nan
    assert_near(pool(x, window, config), torch_pool(x.double(), window))
    assert_near(spread(grad_y, length, window, config), torch_gradient(grad_y, length, window))


def of_some_tiles(groups: int, dtype: torch.dtype) -> int:
    """The length of rows of two tiles or three, the last of which is not whole."""
    return groups * (16 // dtype.itemsize) * 3 // 2 + 38


@pytest.mark.parametrize("groups", [BY_EXCHANGES, BY_SCANS])
@pytest.mark.parametrize(
    ("window", "length", "dtype"),
    [
        (Window(80, 1, 40), 800, F16),  # whole pieces, rows of y one longer
        (Window(85, 1, 17), 805, BF16),  # rows that begin everywhere
        (Window(61, 1, 4), 400, F32),  # both aligned, not equally
        (Window(61, 1, 30), 403, F32),
        (Window(33, 1, 5), 301, F64),
    ],
    ids=str,
)
def test_tiles_inside_a_row_and_at_its_ends(window: Window, length: int, dtype: torch.dtype, groups: int) -> None:
    case = Case(False, "rows", dtype.itemsize, 1, 3, length, 0, window.kernel_size, 1, 0)
    assert (written_by(groups, case) < groups) == (groups == BY_EXCHANGES)
    check("contiguous", length, window, dtype, groups)


@pytest.mark.parametrize("window", [Window(90, 1, 45, False, False), Window(90, 1, 20, True, False)], ids=str)
@pytest.mark.parametrize(("length", "dtype"), [(300, F32), (303, F16)])
def test_windows_that_ends_of_rows_cut(window: Window, length: int, dtype: torch.dtype) -> None:
    check("contiguous", length, window, dtype, BY_EXCHANGES)


@pytest.mark.parametrize("layout", ["odd offset", "every second row", "expanded rows", "every second column"])
def test_rows_that_lie_anywhere(layout: str) -> None:
    check(layout, 201, Window(43, 1, 21), F32, 32)


@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=str)
@pytest.mark.parametrize("layout", ["every second column", "every second column from the second on"])
def test_columns_with_one_between_them(layout: str, dtype: torch.dtype, exhaustive: bool) -> None:
    """They are read in pieces too, equally far from an aligned address or not."""
    first = (layout == "every second column") == (dtype is F32)
    for groups in (BY_EXCHANGES, BY_SCANS) if exhaustive else (BY_SCANS if first else BY_EXCHANGES,):
        check(layout, of_some_tiles(groups, dtype), Window(85, 1, 17, True, False), dtype, groups)
        check(layout, 400, Window(40, 1, 12), dtype, groups)


@pytest.mark.parametrize(("dtype", "kernel_size"), [(F16, 8), (F16, 23), (F32, 5), (F64, 5)], ids=str)
@pytest.mark.parametrize("layout", ["every second column", "every third column"])
def test_narrow_windows_over_columns_that_lie_apart(
    layout: str, dtype: torch.dtype, kernel_size: int, exhaustive: bool
) -> None:
    first = layout == "every third column"
    for counts_padding in (True, False) if exhaustive else (first,):
        window = Window(kernel_size, 1, kernel_size // 2, False, counts_padding)
        check(layout, of_some_tiles(32, dtype), window, dtype, 32)
        check(layout, 37, Window(kernel_size, 1, 1, False, not counts_padding), dtype, 32)


@pytest.mark.parametrize("layout", ["every third column", "expanded columns"])
def test_wide_windows_over_columns_that_are_read_one_by_one(layout: str) -> None:
    check(layout, 201, Window(43, 1, 21), F16, 32)


@pytest.mark.parametrize(("length", "padding"), [(50, 100), (201, 0), (1, 100)])
def test_windows_as_long_as_the_row_or_longer(length: int, padding: int) -> None:
    check("contiguous", length, Window(201, 1, padding), F16, BY_EXCHANGES)


@pytest.mark.parametrize("whole", [2, 3, 4, 5, 8, 19, 20, 39, 40, 43])
@pytest.mark.parametrize("rest", [0, 1])
def test_any_number_of_pieces(whole: int, rest: int) -> None:
    """Each digit of it, with and without a sum of what follows."""
    window = Window(4 * (whole + 1) + rest, 1)
    config = Config.of(ALGORITHM="pieces", BLOCK_OUT=4 * 128, ROWS_PER_PROG=1, num_warps=1)
    x = laid_out("contiguous", 1, 1, window.kernel_size + 600, F32)
    assert_near(pool(x, window, config), torch_pool(x.double(), window))


def test_places_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_IN_A_ROW", 1)
    check("odd offset", 2000, Window(85, 1, 17, False, False), F16, BY_EXCHANGES)
    check("every second column", 300, Window(85, 1, 17), F32, BY_EXCHANGES)


def test_a_window_of_many_tiles() -> None:
    check("contiguous", 320, Window(250, 1, 3), F32, BY_SCANS)


@pytest.mark.parametrize("layout", ["contiguous", "odd offset", "every second column", "every third column"])
@pytest.mark.parametrize(("padding", "counts_padding"), [(0, True), (17, True), (20, False)])
def test_several_rows_in_a_tile(layout: str, padding: int, counts_padding: bool) -> None:
    """The last tile has fewer rows, and batch entries have tiles of their own."""
    window = Window(41, 1, padding, False, counts_padding)
    config = Config.of(ALGORITHM="pieces", BLOCK_OUT=128, ROWS_PER_PROG=4, num_warps=1)
    for dtype, length in ((F16, 67), (F32, 64)):
        x, grad_y = (laid_out(layout, 2, 7, columns, dtype) for columns in (length, window.output_length(length)))
        for read in (x, grad_y):
            read[:, 5] = math.nan
        assert_near(pool(x, window, config), torch_pool(x.double(), window))
        assert_near(spread(grad_y, length, window, config), torch_gradient(grad_y, length, window))


@pytest.mark.parametrize("length", [768, 769, 775, 831, 833, 1151, 1153])
@pytest.mark.parametrize("padding", [0, 40])
def test_the_last_tile_ends_with_the_row(length: int, padding: int) -> None:
    """It overlaps the one before, and no other tile reads or counts the end of the row."""
    window = Window(80, 1, padding, False, False)
    check("contiguous", length + window.kernel_size - 1 - 2 * padding, window, F16, BY_EXCHANGES)


@pytest.mark.skipif(not INTERPRETED, reason="the interpreter alone tells which addresses are accessed")
@pytest.mark.parametrize("length", [831, 1153])
def test_no_output_is_written_twice(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiles may round it differently, so that the result would depend on which one ends last."""
    from triton.runtime import interpreter

    store, written = interpreter.InterpreterBuilder.create_masked_store, []

    def recording(builder, pointers, value, mask, *arguments):
        written.extend(pointers.data[mask.data].tolist())
        return store(builder, pointers, value, mask, *arguments)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_masked_store", recording)
    config = Config.of(ALGORITHM="pieces", BLOCK_OUT=8 * BY_EXCHANGES, ROWS_PER_PROG=1, num_warps=1)
    pool(laid_out("odd offset", 1, 3, length, F16), Window(80, 1, 30), config)
    assert len(written) == len(set(written)) == 3 * Window(80, 1, 30).output_length(length)
