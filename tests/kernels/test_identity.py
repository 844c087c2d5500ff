"""What a tensor and a window make: one problem, whoever asks, and outputs laid out as torch lays them out."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Problem
from tunedb.errors import SettingError
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.kernels.avg_pool.launch import backward_launch, empty_grad_input, empty_output, forward_launch
from tunedb.kernels.avg_pool.problem import LAYOUTS, Pool
from tunedb.kernels.geometry import Window

RTX_4090 = Device("NVIDIA GeForce RTX 4090", "cuda", "sm_89", 128)


def fresh(shape: tuple[int, ...], layout: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What `Pool.of_shape` describes."""
    *leading, length = shape
    if layout == "transposed":
        return torch.empty(*leading[:-1], length, leading[-1], dtype=dtype).transpose(-1, -2)
    if layout == "general":
        return torch.empty(*leading, 2 * length, dtype=dtype)[..., ::2]
    return torch.empty(shape, dtype=dtype)


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=3).map(tuple),
    st.sampled_from(LAYOUTS),
    st.sampled_from((torch.float16, torch.bfloat16, torch.float32, torch.float64)),
    st.sampled_from((Window(1, 1), Window(1, 2), Window(2, 1, 1), Window(2, 3, 1, True))),
)
def test_a_tensor_and_its_description_make_the_same_problem(
    shape: tuple[int, ...], layout: str, dtype: torch.dtype, window: Window
) -> None:
    described = Pool.of_shape(shape, window, dtype, layout)
    assert Pool.of_input(fresh(shape, layout, dtype), window) == described
    assert Pool.of_problem(described.forward_problem()) == described
    length = shape[-1]
    gradient = fresh((*shape[:-1], window.output_length(length)), layout, dtype)
    described = Pool.of_shape(shape, window, dtype, layout, backward=True)
    assert Pool.of_grad(gradient, length, window) == described
    assert Pool.of_problem(described.backward_problem()) == described


def test_a_problem_survives_the_store() -> None:
    problem = FORWARD.problem({"shape": [2, 3, 64], "kernel_size": 8, "stride": 1, "padding": 4})
    assert Problem(problem.key, problem.kernel) == problem
    assert problem.plain() == {
        "batch": 1, "rows": 6, "length": 64, "kernel_size": 8, "stride": 1, "padding": 4, "ceil_mode": False,
        "count_include_pad": True, "dtype": "float32", "layout": "rows", "alignment": 16,
    }  # fmt: skip


def test_forward_and_backward_are_kernels_of_their_own() -> None:
    arguments = {"shape": [2, 3, 64], "kernel_size": 8, "stride": 1, "padding": 4}
    assert (FORWARD.problem(arguments).kernel, BACKWARD.problem(arguments).kernel) == (FORWARD.name, BACKWARD.name)
    assert FORWARD.problem(arguments).digest != BACKWARD.problem(arguments).digest
    assert BACKWARD.problem(arguments)["alignment"] == 4  # rows of 65 gradients


@pytest.mark.parametrize(
    ("x", "batch", "rows", "layout"),
    [
        (torch.empty(4, 5, 6), 1, 20, "rows"),
        (torch.empty(5, 6), 1, 5, "rows"),
        (torch.empty(4, 5, 7)[:, :, :6], 1, 20, "rows"),
        (torch.empty(4, 7, 6)[:, :5], 4, 5, "rows"),
        (torch.empty(1, 5, 6).expand(4, 5, 6), 4, 5, "rows"),
        (torch.empty(4, 6, 5).transpose(1, 2), 4, 5, "transposed"),
        (torch.empty(6, 5).t(), 1, 5, "transposed"),
        (torch.empty(4, 6, 1).transpose(1, 2), 1, 4, "rows"),
        (torch.empty(4, 5, 12)[:, :, ::2], 1, 20, "general"),
        (torch.empty(6, 5, 4).permute(2, 1, 0), 4, 5, "general"),
        (torch.empty(()).expand(4, 5, 6), 1, 20, "general"),
    ],
)
def test_rows_are_counted_across_the_batch_where_they_are_evenly_spaced(
    x: torch.Tensor, batch: int, rows: int, layout: str
) -> None:
    pool = Pool.of_input(x, Window(2, 2))
    assert (pool.batch, pool.rows, pool.layout) == (batch, rows, layout)


@pytest.mark.parametrize(
    ("offset", "pitch", "alignment"), [(0, 64, 16), (4, 64, 16), (2, 64, 8), (1, 64, 4), (0, 66, 8), (2, 63, 4)]
)
def test_the_alignment_class_is_that_of_address_and_pitch(offset: int, pitch: int, alignment: int) -> None:
    x = torch.empty(1000).as_strided((3, 50), (pitch, 1), offset)
    assert Pool.of_input(x, Window(2, 2)).alignment == alignment
    across = torch.empty(1000).as_strided((50, 3), (1, pitch), offset)
    assert Pool.of_input(across, Window(2, 2)).alignment == alignment


def test_equal_computations_share_a_problem() -> None:
    plain = FORWARD.problem({"shape": [2, 3, 64], "kernel_size": 8})
    assert FORWARD.problem({"shape": [6, 64], "kernel_size": 8, "ceil_mode": True, "count_include_pad": False}) == plain
    assert FORWARD.problem({"shape": (2, 3, 64), "kernel_size": 8, "stride": None, "dtype": torch.float32}) == plain
    assert FORWARD.problem({"shape": [2, 3, 65], "kernel_size": 8, "ceil_mode": True}) != plain


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": None}, "shape is missing; expected"),
        ({"shape": [1, 2, 3, 4]}, r"shape: expected two or three ints.*, got \[1, 2, 3, 4\]"),
        ({"shape": [0, 2, 64]}, "shape: expected extents of 1 or more"),
        ({"shape": "64"}, "shape: expected .*, got '64'"),
        ({"kernel_size": 0}, "kernel_size: expected an int of 1 or more, got 0"),
        ({"kernel_size": True}, "kernel_size: expected .*, got True"),
        ({"kernel_size": None}, "kernel_size is missing"),
        ({"kernel_size": 100}, "kernel_size: expected at most 64"),
        ({"stride": 0}, "stride: expected .*, got 0"),
        ({"padding": 5}, "padding: expected at most half of kernel_size 8"),
        ({"padding": -1}, "padding: expected .*, got -1"),
        ({"ceil_mode": 1}, "ceil_mode: expected true or false, got 1"),
        ({"dtype": "int32"}, "dtype: expected one of float16.*, got 'int32'"),
        ({"dtype": torch.int8}, "dtype: expected .*, got torch.int8"),
        ({"layout": "nhwc"}, "layout: expected one of rows"),
        ({"kernel": 8}, "kernel: no such argument. Expected some of"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict[str, Any], message: str) -> None:
    arguments = {"id": "x", "note": "y", "shape": [2, 3, 64], "kernel_size": 8, **changed}
    with pytest.raises(SettingError, match=message):
        FORWARD.problem(arguments)


@settings(max_examples=150)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=3),
    st.permutations(range(3)),
    st.lists(st.integers(1, 2), min_size=3, max_size=3),
    st.booleans(),
)
def test_the_output_has_the_strides_that_torch_gives_it(
    shape: list[int], order: list[int], steps: list[int], expanded: bool
) -> None:
    """Any order of axes, slices of them, and an expanded batch."""
    rank = len(shape)
    order = [axis for axis in order if axis < rank]
    base = torch.zeros([shape[axis] * steps[axis] for axis in order])
    x = base.permute([order.index(axis) for axis in range(rank)])[tuple(slice(None, None, s) for s in steps[:rank])]
    x = x[:1].expand_as(x) if expanded else x
    assert list(x.shape) == shape
    window = Window(1, 2, 0)
    needed = functional.avg_pool1d(x, 1, 2)
    found = empty_output(x, window)
    assert (found.shape, found.stride()) == (needed.shape, needed.stride())


def test_a_gradient_is_channels_last_where_the_one_it_comes_from_is() -> None:
    assert empty_grad_input(torch.empty(2, 5, 3).transpose(1, 2), 10).stride() == (30, 1, 3)
    assert empty_grad_input(torch.empty(2, 3, 5), 10).stride() == (30, 10, 1)
    assert empty_grad_input(torch.empty(()).expand(2, 3, 5), 10).stride() == (30, 10, 1)


def test_a_gradient_of_one_column_has_the_layout_of_the_one_that_is_written() -> None:
    window = Window(8, 8)
    pool = Pool.of_grad(fresh((5, 4, 1), "transposed"), 8, window)
    assert (pool.layout, pool.batch, pool.rows, pool.alignment) == ("transposed", 5, 4, 16)
    pool = Pool.of_grad(fresh((5, 4, 1), "rows"), 8, window)
    assert (pool.layout, pool.batch, pool.rows, pool.alignment) == ("rows", 1, 20, 4)
    assert Pool.of_grad(fresh((4, 1), "transposed"), 8, window).layout == "rows"  # as torch's, it has no batch entries


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 300)),
    st.sampled_from(LAYOUTS),
    st.sampled_from((torch.float16, torch.float32, torch.float64)),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 150),
)
def test_every_config_of_a_space_is_launched_as_its_algorithm(
    shape: tuple[int, int, int], layout: str, dtype: torch.dtype, kernel_size: int, stride: int, padding: int
) -> None:
    """A launch that took "taps" in its place would be right, and many times slower."""
    window = Window(min(kernel_size, shape[2]), stride, min(padding, kernel_size // 2, shape[2] // 2))
    x = fresh(shape, layout, dtype)
    y = empty_output(x, window)
    for config in FORWARD.space(Pool.of_input(x, window).forward_problem(), RTX_4090):
        assert forward_launch(x, y, window, config).constants["ALGORITHM"] == config["ALGORITHM"]
    grad_y = fresh((*shape[:2], y.shape[2]), layout, dtype)
    grad_x = empty_grad_input(grad_y, shape[2])
    for config in BACKWARD.space(Pool.of_grad(grad_y, shape[2], window).backward_problem(), RTX_4090):
        assert backward_launch(grad_y, grad_x, window, config).constants["ALGORITHM"] == config["ALGORITHM"]


SHAPES = """
{"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4}
{"shape": [16, 32, 128], "kernel_size": 4, "stride": 2, "padding": 1}
{"shape": [32768, 64, 65], "kernel_size": 3, "stride": 1, "padding": 1}
{"shape": [4096, 512, 16], "kernel_size": 2, "dtype": "float16"}
{"shape": [256, 2048, 49], "kernel_size": 49}
{"shape": [32, 256, 16384], "kernel_size": 4, "layout": "transposed"}
{"shape": [3, 5, 16384], "kernel_size": 4, "layout": "transposed"}
{"shape": [64, 2, 480000], "kernel_size": 64, "stride": 1, "padding": 32, "layout": "general"}
{"shape": [1, 1], "kernel_size": 1}
"""


@pytest.mark.parametrize("line", SHAPES.strip().splitlines())
@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)
def test_a_search_space_is_small_distinct_fits_the_problem_and_holds_the_default(kernel: Any, line: str) -> None:
    problem = kernel.problem(json.loads(line))
    pool = Pool.of_problem(problem)
    columns = pool.length if kernel is BACKWARD else pool.window.output_length(pool.length)
    for device, most in ((RTX_4090, 28), (INTERPRETER, 6)):
        space = kernel.space(problem, device)
        assert 1 <= len(space) == len(set(space)) <= most
        assert kernel.default(problem, device) in space
        for config in space:
            block, rows, warps = config["BLOCK_OUT"], config["ROWS_PER_PROG"], config["num_warps"]
            # The rows of a batch entry are one array; 8 float16 are one access.
            assert block < max(2 * columns * pool.rows, 9)
            assert device is INTERPRETER or block * rows <= 64 * 32 * warps


@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD], ids=lambda kernel: kernel.name)
def test_the_default_is_the_tile_that_won_on_average(kernel: Any) -> None:
    problem = kernel.problem({"shape": [64, 128, 65536], "kernel_size": 8, "stride": 1, "padding": 4})
    assert kernel.default(problem, RTX_4090).plain() == {
        "ALGORITHM": "vectors", "BLOCK_OUT": 1024, "ROWS_PER_PROG": 1, "num_warps": 4,
    }  # fmt: skip


@pytest.mark.parametrize(("stride", "groups"), [(12, {1}), (8, {1, 2})])
def test_of_wide_windows_of_doubles_that_lie_far_apart_a_thread_has_one(stride: int, groups: set[int]) -> None:
    problem = FORWARD.problem({"shape": [779, 372, 352], "kernel_size": 25, "stride": stride, "dtype": "float64"})
    space = FORWARD.space(problem, RTX_4090)
    assert {
        config["BLOCK_OUT"] // (32 * config["num_warps"]) for config in space if config["ALGORITHM"] == "vectors"
    } == groups
    assert space[0]["ALGORITHM"] == "vectors"
