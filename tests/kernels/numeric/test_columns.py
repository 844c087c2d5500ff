"""The transposed and the general layout: tiles inside a row and at its ends, in one batch entry and in several."""

import math

import pytest
import torch

from tests.conftest import DEVICE, runs_kernels
from tests.kernels.numeric.test_pooling import assert_near, laid_out, pool, spread, torch_gradient, torch_pool
from tunedb.core.problem import Config
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.geometry import Window

pytestmark = runs_kernels


def config(algorithm: str, block: int, items: int) -> Config:
    return Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=items, num_warps=1)


COLUMNS = [  # window, batch entries, channels, length, length of a run, items
    (Window(3, 1, 1), 1, 12, 200, 4, 64),  # tiles inside the row; four channels together
    (Window(5, 1), 3, 7, 23, 8, 256),  # items go on into the next batch entry
    (Window(5, 6, 2, True, False), 2, 20, 90, 2, 128),
    (Window(28, 28, 14), 2, 6, 120, 2, 64),
    (Window(3, 7), 2, 10, 61, 3, 64),  # columns that no window holds
    (Window(25, 12, 5, False, False), 1, 9, 260, 4, 128),
    (Window(70, 35, 11), 2, 18, 400, 2, 256),  # neighbours share a strip
    (Window(90, 90, 0, True), 1, 5, 333, 1, 64),
    (Window(80, 40, 3), 1, 67, 200, 1, 256),  # more channels than lie together
    (Window(50, 1, 25), 2, 6, 64, 8, 64),  # more strips than a thread holds
    (Window(75, 2, 3), 1, 4, 300, 4, 64),
    (Window(91, 1, 45), 3, 5, 20, 7, 32),  # windows that are far longer than the row
    (Window(61, 61), 3, 10, 61, 1, 64),  # one output a row
]


@pytest.mark.parametrize(("window", "batch", "rows", "length", "run", "items"), COLUMNS)
def test_columns_are_torchs(
    window: Window, batch: int, rows: int, length: int, run: int, items: int, exhaustive: bool
) -> None:
    """In one dtype, in turn; in both with `--exhaustive`, and for the first, where channels go together."""
    turn = [case[0] for case in COLUMNS].index(window)
    dtypes = (torch.float16, torch.float32)
    for dtype in dtypes if exhaustive or turn == 0 else dtypes[turn % 2 :][:1]:
        check("columns", "transposed", window, (batch, rows, length), (run, items), dtype)


def check(
    algorithm: str, layout: str, window: Window, shape: tuple[int, int, int], tile: tuple[int, int], dtype: torch.dtype
) -> None:
    """Compare both directions, with a NaN and infinities that may reach their own windows alone."""
    x = laid_out(layout, *shape, dtype)
    x[0, 0, 1] = math.nan
    x[-1, -1, shape[2] // 2] = math.inf
    launch = forward_launch(x, empty_output(x, window), window, config(algorithm, *tile))
    assert launch.constants["ALGORITHM"] == algorithm
    assert_near(pool(x, window, config(algorithm, *tile)), torch_pool(x.double(), window))
    grad_y = laid_out(layout, *shape[:2], window.output_length(shape[2]), dtype)
    grad_y[0, 0, 0] = math.inf
    grad_y[-1, -1, -1] = math.nan
    grad_x = spread(grad_y, shape[2], window, config(algorithm, *tile))
    assert_near(grad_x, torch_gradient(grad_y, shape[2], window))


STACKS = [  # window, batch entries, channels, length, blocks of a thread
    (Window(513, 1, 5), 1, 5, 3000, 1),  # a program inside the row
    (Window(512, 1, 256, False, False), 2, 13, 900, 2),
    (Window(520, 1, 0), 2, 3, 2500, 1),
    (Window(600, 1, 300), 1, 35, 620, 2),  # programs with some of the channels
]


@pytest.mark.parametrize(("window", "batch", "rows", "length", "blocks"), STACKS)
def test_stacks_are_torchs(window: Window, batch: int, rows: int, length: int, blocks: int) -> None:
    dtype = (torch.float16, torch.float32)[rows % 2]
    check("stacks", "transposed", window, (batch, rows, length), (16 * 256, blocks), dtype)


@pytest.mark.parametrize(("channels", "offset", "together"), [(8, 0, 4), (8, 2, 2), (6, 0, 2), (8, 1, 1), (7, 0, 1)])
def test_a_thread_takes_as_many_channels_as_addresses_allow(channels: int, offset: int, together: int) -> None:
    window = Window(3, 1, 1)
    memory = torch.randn(2 * 50 * channels + offset, device=DEVICE).to(torch.float16)
    x = memory[offset:].view(2, 50, channels).transpose(1, 2)
    launch = forward_launch(x, empty_output(x, window), window, config("columns", 4, 64))
    assert launch.constants["ALIGNED"] == together
    assert_near(pool(x, window, config("columns", 4, 64)), torch_pool(x.double(), window))


@pytest.mark.parametrize("window", [Window(4, 2, 1), Window(70, 35, 11)])
def test_channels_that_are_part_of_a_wider_tensor(window: Window) -> None:
    whole = laid_out("transposed", 2, 16, 160, torch.float32)
    for x, gap in ((whole, 16), (whole[:, 2:8], 0)):
        launch = forward_launch(x, empty_output(x, window), window, config("columns", 2, 64))
        assert launch.constants["GAP"] == gap  # of columns without gaps addresses are constants apart
        assert_near(pool(x, window, config("columns", 2, 64)), torch_pool(x.double(), window))
    for algorithm, tile in (("columns", (2, 64)), ("layers", (256, 1))):
        grad_y = laid_out("transposed", 2, 16, window.output_length(160), torch.float32)[:, 2:8]
        grad_x = spread(grad_y, 160, window, config(algorithm, *tile))
        assert_near(grad_x, torch_gradient(grad_y, 160, window))


def test_offsets_of_far_columns_need_64_bits() -> None:
    far = torch.empty_strided((2, 4, 64), (2**33, 1, 2**27), device="meta")
    for window in (Window(3, 1, 1), Window(4, 4)):
        launch = forward_launch(far, empty_output(far, window), window, config("columns", 4, 256))
        assert launch.constants["WIDE"]
        grad_y = torch.empty_strided((2, 4, window.output_length(64)), (2**33, 1, 2**27), device="meta")
        launch = backward_launch(grad_y, empty_grad_input(grad_y, 64), window, config("columns", 4, 256))
        assert launch.constants["WIDE"]
    near = torch.empty_strided((2, 4, 64), (256, 1, 4), device="meta")
    launch = forward_launch(near, empty_output(near, Window(4, 4)), Window(4, 4), config("columns", 4, 256))
    assert not launch.constants["WIDE"]


def test_rows_that_are_read_transposed_and_written_as_rows_are_served_by_taps() -> None:
    x = torch.randn(40, 6, device=DEVICE).t()
    window = Window(3, 1, 1)
    launch = forward_launch(x, empty_output(x, window), window, config("columns", 4, 64))
    assert launch.constants["ALGORITHM"] == "taps"
    assert_near(pool(x, window, config("columns", 4, 64)), torch_pool(x.double(), window))


LAYERS = [  # window, batch entries, channels, length, elements of a tile
    (Window(29, 14, 14), 1, 5, 200, 256),  # two windows hold a strip, and one more its beginning
    (Window(5, 3), 4, 7, 32, 512),  # tiles with several batch entries
    (Window(5, 3), 2, 7, 301, 256),  # a tile with the end of one
    (Window(18, 18), 3, 13, 54, 512),  # entries are whole strips
    (Window(3, 7, 1, True), 2, 10, 61, 256),  # columns that no window holds
    (Window(25, 12, 5, False, False), 2, 9, 260, 1024),
    (Window(16, 2, 8, True, False), 3, 3, 50, 128),
    (Window(4, 2, 0), 5, 1, 9, 64),
    (Window(6, 4, 3, True), 3, 34, 2, 512),  # entries of one strip
    (Window(40, 40), 3, 5, 61, 256),  # one window a row, and columns that it does not hold
    (Window(8, 3, 4), 3, 5, 41, 256),  # a group of which the beginning is in another entry, whose strips are not whole
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("window", "batch", "rows", "length", "tile"), LAYERS)
def test_gradients_in_layers_are_torchs(
    window: Window, batch: int, rows: int, length: int, tile: int, dtype: torch.dtype
) -> None:
    grad_y = laid_out("transposed", batch, rows, window.output_length(length), dtype)
    grad_y[0, 0, 0] = math.inf
    grad_y[-1, -1, -1] = math.nan
    grad_x = spread(grad_y, length, window, config("layers", tile, 1))
    assert_near(grad_x, torch_gradient(grad_y, length, window))
