"""Each branch of "strips" and "rows" against torch in float64: inside rows, at their ends, with several in a tile."""

import math

import pytest
import torch

from tests.conftest import runs_kernels
from tests.kernels.numeric.test_pooling import assert_near, laid_out, torch_gradient, torch_pool
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.algorithms import algorithms, can_run
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.geometry import Window

pytestmark = runs_kernels


def config_of(algorithm: str, block: int, per_program: int = 1) -> Config:
    return Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=per_program, num_warps=1)


def check_forward(x: torch.Tensor, window: Window, config: Config) -> dict[str, object]:
    """Compare with torch, every second row full of NaN if rows share no memory, and return the launch's constants."""
    if 0 not in x.stride():
        x[:, 1::2] = math.nan
    launch = forward_launch(x, y := empty_output(x, window).fill_(7.0), window, config)
    launch()
    assert_near(y, torch_pool(x.double(), window))
    assert launch.constants["ALGORITHM"] == config["ALGORITHM"]
    return dict(launch.constants)


STRIPS = {
    "tiles inside the row": (Window(24, 12, 5), (1, 2, 700), "contiguous", torch.float16, 16, {"SHORT": False}),
    "rows numbered through": (Window(25, 12, 3), (2, 5, 100), "contiguous", torch.float32, 32, {"SHORT": True}),
    "entries apart": (Window(25, 12, 3), (2, 5, 100), "every second row", torch.float64, 32, {"SHORT": True}),
    "pieces of 16 bytes": (Window(64, 32, 16), (1, 3, 512), "contiguous", torch.bfloat16, 8, {"ALIGNED": 1}),
    "pieces of strips": (
        Window(150, 75, 33), (1, 3, 999), "contiguous", torch.float16, 8, {"ALIGNED": 8, "SHORT": False},
    ),
    "such, of short rows, counted without padding": (
        Window(117, 105, 58, True, False), (2, 5, 203), "odd offset", torch.bfloat16, 16, {"ALIGNED": 8, "SHORT": True},
    ),
    "pairs of even strips": (
        Window(170, 58, 51), (1, 2, 4300), "contiguous", torch.float16, 16, {"ALIGNED": 2, "SHORT": False},
    ),
    "pairs of odd strips": (
        Window(99, 33, 40, True, False), (1, 2, 4301), "odd offset", torch.bfloat16, 32, {"ALIGNED": 2, "SHORT": False},
    ),
    "pairs, rows numbered through": (
        Window(130, 41, 52, True), (2, 2, 4301), "contiguous", torch.float16, 256, {"ALIGNED": 2, "SHORT": True},
    ),
    "pairs in short rows": (
        Window(45, 10, 7, True, False), (2, 5, 96), "contiguous", torch.float16, 64,
        {"ALIGNED": 2, "SHORT": True, "WHOLE": True},
    ),
    "pairs in short rows, behind even padding": (
        Window(70, 12, 34), (1, 5, 160), "contiguous", torch.bfloat16, 64,
        {"ALIGNED": 2, "SHORT": True, "WHOLE": True},
    ),
    "pieces of strips in short rows": (
        Window(150, 72, 69), (2, 5, 304), "contiguous", torch.bfloat16, 16,
        {"ALIGNED": 8, "SHORT": True, "WHOLE": True},
    ),
    "such, aligned, of short rows": (
        Window(64, 32, 8), (2, 4, 128), "contiguous", torch.float16, 32, {"ALIGNED": 1, "SHORT": True},
    ),
    "an odd address": (Window(64, 32, 16), (1, 3, 512), "odd offset", torch.bfloat16, 8, {"ALIGNED": 8}),
    "columns between windows": (Window(20, 50, 9, True), (1, 3, 640), "contiguous", torch.float32, 4, {"SHORT": False}),
    "columns apart": (Window(30, 14, 15), (2, 3, 300), "every second column", torch.float32, 8, {"SHORT": False}),
    "columns apart in short rows": (
        Window(30, 14, 15), (2, 5, 60), "every second column", torch.float32, 32, {"SHORT": True},
    ),
    "equal rows": (Window(30, 14, 15), (1, 5, 60), "expanded rows", torch.float32, 32, {"SHORT": True}),
    "a loop over a strip": (Window(1000, 750, 500), (1, 2, 5000), "contiguous", torch.float32, 4, {"SHORT": False}),
    "a loop, counted without": (Window(1400, 700, 600, True, False), (1, 3, 900), "contiguous", torch.float16, 8, {}),
    "a window of many strips": (Window(101, 2, 37), (1, 2, 900), "contiguous", torch.float32, 128, {"SHORT": False}),
    "such, whole strips": (
        Window(120, 3, 60, True, False), (2, 3, 150), "contiguous", torch.float32, 256, {"SHORT": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STRIPS.values(), ids=STRIPS)
def test_strips(case: tuple[Window, tuple[int, int, int], str, torch.dtype, int, dict[str, bool]]) -> None:
    window, shape, layout, dtype, block, expected = case
    constants = check_forward(laid_out(layout, *shape, dtype), window, config_of("strips", block))
    assert constants | expected == constants


ROWS = {
    "all see the whole row": (Window(74, 1, 29), 32),
    "all, padding not counted": (Window(150, 5, 75, True, False), 70),
    "one window": (Window(49, 49), 49),
    "all, one window": (Window(200, 200, 100), 81),
    "two windows": (Window(159, 79, 79), 122),
    "three windows, rows of one strip": (Window(40, 35, 20, True, False), 95),
    "four windows": (Window(8, 7, 1), 28),
    "beginnings and ends": (Window(40, 1, 13), 33),
    "such, counted without padding": (Window(40, 2, 20, True, False), 31),
}


@pytest.mark.parametrize("layout", ["contiguous", "every second row", "every second column"])
@pytest.mark.parametrize(("window", "length"), ROWS.values(), ids=ROWS)
def test_rows(window: Window, length: int, layout: str) -> None:
    turn = len(layout) + length
    dtype = (torch.float32, torch.bfloat16, torch.float64, torch.float16)[turn % 4]
    columns = window.output_length(length)
    x = laid_out(layout, 2, 5, length, dtype)
    check_forward(x, window, config_of("rows", 1 << (columns - 1).bit_length(), 1 << turn % 3))
    grad_y = laid_out(layout, 2, 5, columns, dtype)
    grad_y[:, 1::2] = math.nan
    grad_x = empty_grad_input(grad_y, length).fill_(7.0)
    launch = backward_launch(grad_y, grad_x, window, config_of("rows", 1 << (length - 1).bit_length(), 1 << turn % 3))
    launch()
    assert launch.constants["ALGORITHM"] == "rows"
    assert_near(grad_x, torch_gradient(grad_y, length, window))


def test_what_strips_and_rows_leave_to_others() -> None:
    def forward(length: int, out_length: int, *window: int) -> list[str]:
        return algorithms(Case(False, "rows", 4, 1, 99, length, out_length, *window))

    assert forward(100_000, 49_001, 2000, 2, 0)[0] == "strips"
    assert "strips" not in forward(100_000, 46_801, 6400, 2, 0)  # its halo would be most of a tile
    assert "rows" not in forward(1025, 2, 1000, 25, 0)
    assert forward(192, 1, 191, 95, 11)[0] == "rows"  # its one window sees nearly all of a row, whatever the stride
    assert "rows" not in forward(192, 1, 91, 95, 11)
    assert "strips" not in forward(64, 13, 338, 5, 169)  # a window of 68 strips, of a row of 13
    case = Case(False, "rows", 4, 1, 99, 1000, 91, 100, 10, 0)
    assert not can_run("strips", 9, case)
    assert can_run("strips", 10, case)
