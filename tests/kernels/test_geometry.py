"""Window arithmetic: lengths are torch's, and a normalised window computes the same."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn import functional

from tunedb.kernels.geometry import Window, cdiv, power_of_2_from, power_of_2_to


@st.composite
def pooled_rows(draw: st.DrawFn) -> tuple[Window, int]:
    """A window, and a length of row that torch pools with it."""
    kernel_size = draw(st.integers(1, 40))
    padding = draw(st.integers(0, kernel_size // 2))
    window = Window(kernel_size, draw(st.integers(1, 50)), padding, draw(st.booleans()), draw(st.booleans()))
    return window, draw(st.integers(max(1, kernel_size - 2 * padding), 120))


def pool(x: torch.Tensor, window: Window) -> torch.Tensor:
    return functional.avg_pool1d(
        x, window.kernel_size, window.stride, window.padding, window.ceil_mode, window.count_include_pad
    )


@given(pooled_rows())
def test_the_output_length_is_torchs(case: tuple[Window, int]) -> None:
    window, length = case
    assert window.output_length(length) == pool(torch.zeros(1, length), window).shape[-1]


@given(pooled_rows())
def test_a_normalised_window_computes_the_same(case: tuple[Window, int]) -> None:
    window, length = case
    x = torch.randn(2, length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    assert torch.equal(pool(x, window.normalised(length)), pool(x, window))
    assert window.normalised(length).normalised(length) == window.normalised(length)


def test_problems_that_compute_the_same_share_one_window() -> None:
    assert Window(2, 2, 0, True, False).normalised(8) == Window(2, 2)
    assert Window(2, 2, 0, True, False).normalised(9) == Window(2, 2, 0, True, True)
    assert Window(3, 1, 1, False, False).normalised(9) == Window(3, 1, 1, False, False)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_the_output_length_of_a_symbolic_length_is_symbolic(ceil_mode: bool) -> None:
    length = FakeTensorMode(shape_env=ShapeEnv()).from_tensor(torch.zeros(1, 64)).shape[-1]
    window = Window(3, 2, 1, ceil_mode)
    assert isinstance(window.output_length(length), torch.SymInt)
    assert window.output_length(length) == window.output_length(64)


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_integer_helpers(number: int, divisor: int) -> None:
    assert (cdiv(number, divisor) - 1) * divisor < number <= cdiv(number, divisor) * divisor
    assert power_of_2_to(number) <= number < 2 * power_of_2_to(number)
    assert power_of_2_from(number) // 2 < number <= power_of_2_from(number)
