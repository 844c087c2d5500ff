"""The bytes and operations of average pooling, against counting them one by one."""

from __future__ import annotations

import itertools

import pytest

from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.kernels.avg_pool.traffic import read_of_row
from tunedb.kernels.geometry import Window

CASES = [
    (length, Window(size, stride, padding, ceil))
    for length, size, stride, ceil in itertools.product(
        (1, 2, 7, 16, 33), (1, 2, 3, 8), (1, 2, 3, 5, 11), (False, True)
    )
    for padding in range(size // 2 + 1)
    if length + 2 * padding >= size
]


def test_what_is_read_of_a_row_is_what_lies_in_a_window() -> None:
    for length, window in CASES:
        read = {
            place
            for start in range(
                -window.padding, -window.padding + window.output_length(length) * window.stride, window.stride
            )
            for place in range(start, start + window.kernel_size)
            if 0 <= place < length
        }
        assert read_of_row(window, length) == len(read), (length, window)


@pytest.mark.parametrize(("dtype", "item"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)])
def test_both_directions_state_their_bytes(dtype: str, item: int) -> None:
    arguments = {"shape": (4, 8, 64), "kernel_size": 8, "stride": 4, "dtype": dtype}
    forward, backward = FORWARD.problem(arguments), BACKWARD.problem(arguments)
    assert FORWARD.bytes_moved(forward) == 4 * 8 * (64 + 15) * item
    assert BACKWARD.bytes_moved(backward) == 4 * 8 * (64 + 15) * item
    assert FORWARD.operations(forward) == BACKWARD.operations(backward) == 4 * 8 * 15 * 8


def test_gaps_between_windows_are_not_read_but_their_gradient_is_written() -> None:
    arguments = {"shape": (1, 1, 100), "kernel_size": 1, "stride": 10, "dtype": "float32"}
    assert FORWARD.bytes_moved(FORWARD.problem(arguments)) == (10 + 10) * 4
    assert BACKWARD.bytes_moved(BACKWARD.problem(arguments)) == (10 + 100) * 4
