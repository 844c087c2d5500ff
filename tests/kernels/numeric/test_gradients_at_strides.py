"""Gradients at strides of 2 and more, which are written as one array: tiles inside a row, with walls, at both ends."""

import itertools
import math

import pytest
import torch

from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tests.kernels.numeric.test_pooling import assert_near, laid_out, torch_gradient
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.algorithms import algorithms, can_run, tiling
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.algorithms.spread import slots_of
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.geometry import Window

pytestmark = runs_kernels

GATHERED = (
    Window(2, 2), Window(3, 2, 1), Window(2, 5), Window(13, 11, 4), Window(20, 9, 10, True, False),
    Window(7, 6, 3, True), Window(29, 12, 13, False, False),
)  # fmt: skip
SUMMED = (Window(12, 3, 6), Window(13, 2, 5, True), Window(40, 8), Window(47, 9, 20, False, False), Window(130, 2, 65))


def launch(
    algorithm: str, block: int, grad_y: torch.Tensor, length: int, window: Window, offset: int = 0
) -> torch.Tensor:
    """Spread grad_y over a grad_x that lies `offset` elements after an aligned address; NaN before and after stay."""
    config = Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=1, num_warps=2)
    assert can_run(algorithm, block, Pool.of_grad(grad_y, length, window).case(True))
    shape = (*grad_y.shape[:-1], length)
    whole = torch.full((math.prod(shape) + offset + 16,), math.nan, dtype=grad_y.dtype, device=DEVICE)
    grad_x = whole[offset:][: math.prod(shape)].view(shape)
    backward_launch(grad_y, grad_x, window, config)()
    assert whole[:offset].isnan().all()
    assert whole[offset + math.prod(shape) :].isnan().all()
    return grad_x


@pytest.mark.parametrize(("algorithm", "windows"), [("gather", GATHERED), ("spread", SUMMED)])
@pytest.mark.parametrize(
    ("length", "offset"),
    [(77, 0), (78, 8), (80, 8), (301, 3), (304, 5), (300, 0)],
    ids=["short", "short even", "short aligned", "long odd", "long at an odd address", "long, ending in half groups"],
)
def test_a_gradient_is_right_where_rows_end_and_where_they_do_not(
    algorithm: str, windows: tuple[Window, ...], length: int, offset: int, exhaustive: bool
) -> None:
    """In rows shorter and longer than a tile, aligned and not; a NaN stays in its row."""
    number = (length + offset) % len(windows)
    for window in windows if exhaustive else (windows[number], windows[number - 2]):
        for dtype in (torch.float16, torch.float32):
            grad_y = laid_out("contiguous", 3, 2, window.output_length(length), dtype)
            grad_y[1, 0, [0, -1]] = math.nan
            found = launch(algorithm, 128, grad_y, length, window, offset)
            assert_near(found, torch_gradient(grad_y, length, window))


@pytest.mark.parametrize(("algorithm", "window"), [("gather", Window(5, 4, 2)), ("spread", Window(14, 4, 7))])
@pytest.mark.parametrize("layout", ["expanded batch", "every second row", "every second column", "strangely permuted"])
def test_a_gradient_reads_any_strides(algorithm: str, window: Window, layout: str) -> None:
    for length in (40, 203):
        grad_y = laid_out(layout, 2, 3, window.output_length(length), torch.bfloat16)
        found = launch(algorithm, 64, grad_y, length, window)
        assert_near(found, torch_gradient(grad_y, length, window))


@pytest.mark.skipif(not INTERPRETED, reason="the interpreter alone shows what the compiler is promised")
@pytest.mark.parametrize(("algorithm", "window"), [("gather", Window(3, 2, 1)), ("spread", Window(9, 2, 4))])
def test_stores_are_aligned_as_the_compiler_is_promised(
    algorithm: str, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime.interpreter import TensorHandle

    promises = []

    def kept(handle: TensorHandle, name: str, value: object) -> None:
        if name == "tt.divisibility":
            promises.append(bool((handle.data.astype("int64") % int(max(getattr(value, "data", value))) == 0).all()))

    monkeypatch.setattr(TensorHandle, "set_attr", kept)
    for length, offset, dtype in ((96, 0, torch.float16), (99, 1, torch.float16), (99, 3, torch.float32)):
        launch(algorithm, 64, laid_out("contiguous", 2, 2, window.output_length(length), dtype), length, window, offset)
    assert promises
    assert all(promises)


def test_a_target_with_gaps_between_its_rows_is_written_by_taps() -> None:
    grad_y, window = laid_out("contiguous", 2, 3, 10, torch.float32), Window(4, 2)
    grad_x = torch.full((2, 3, 30), math.nan, device=DEVICE)[..., :22]
    config = Config.of(ALGORITHM="gather", BLOCK_OUT=64, ROWS_PER_PROG=1, num_warps=1)
    found = backward_launch(grad_y, grad_x, window, config)
    assert found.constants["ALGORITHM"] == "taps"
    found()
    assert_near(grad_x, torch_gradient(grad_y, 22, window))
    assert backward_launch(grad_y, empty_grad_input(grad_y, 22), window, config).constants["ALGORITHM"] == "gather"


def test_rows_shorter_than_a_group_and_rows_almost_too_long_for_32_bits_are_not_served() -> None:
    def served(length: int, kernel_size: int = 8) -> set[str]:
        case = Case(True, "rows", 2, 1, 3, length, 1 + (length - kernel_size) // 2, kernel_size, 2, 0)
        return set(algorithms(case)) & {"gather", "spread"}

    assert served(8) == {"gather", "spread"}
    assert served(7, 6) == set()
    assert served(2**31 - 2**20) == set()
    assert served(2**31) == {"gather", "spread"}


@pytest.mark.parametrize("algorithm", ["gather", "spread"])
def test_elements_that_32_bits_can_not_count_are_counted_with_64(algorithm: str) -> None:
    def is_wide(batch: int, rows: int) -> object:
        case = Case(True, "rows", 2, batch, rows, 1024, 511, 8, 2, 0)
        return tiling(algorithm, (256, 1), case, (True, True), True)[1]["WIDE"]

    assert not is_wide(1, 2**20)
    assert is_wide(1, 2**21)
    assert is_wide(2, 3)


def test_the_slots_of_a_tile_hold_all_windows_that_its_elements_need() -> None:
    for length, kernel_size, stride, padding in itertools.product((16, 77, 701, 5000), (12, 60, 336), (2, 4), (0, 1)):
        padding *= kernel_size // 2
        if length + 2 * padding < kernel_size:
            continue
        out_length = (length + 2 * padding - kernel_size) // stride + 1
        case = Case(True, "rows", 2, 1, 9, length, out_length, kernel_size, stride, padding)
        always = kernel_size // stride
        per_row = max((length + padding - 1) // stride + 1, out_length + always)
        for block in (256, 2048, 4096):
            slots, written = slots_of(block, case)
            assert 0 < written <= block
            assert written % case.group == 0
            for column in range(length):  # of the row in which the tile begins
                row, last = divmod(column + written - 1, length)
                first = (column + padding) // stride - always
                assert row * per_row + (last + padding) // stride - first < slots
