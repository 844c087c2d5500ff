"""Tests run in an interpreter that leaves out what makes no difference: what is left does what Triton's does."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from tests.conftest import INTERPRETED, runs_kernels

pytestmark = [runs_kernels, pytest.mark.skipif(not INTERPRETED, reason="about the interpreter")]


@triton.jit
def plus_one(value):
    return value + tl.full(value.shape, 1, value.dtype)


@triton.jit
def sums(read, written, FAILS: tl.constexpr):
    lanes = tl.arange(0, 4)
    value = plus_one(plus_one(tl.load(read + lanes)))
    tl.store(written + lanes, value)
    if FAILS:
        tl.arange(0, 3)


@pytest.mark.parametrize("fails", [False, True])
def test_the_language_is_replaced_for_a_launch_and_for_no_longer(fails: bool) -> None:
    names = ("load", "store", "sum", "arange", "full", "add")
    before = {name: getattr(tl, name) for name in names}, tl.tensor.__add__, tl.tensor.__dict__.get("__bool__")
    for _ in range(2):
        read, written = torch.arange(4, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
        if fails:
            with pytest.raises(Exception, match="power of 2"):
                sums[(1,)](read, written, True)
        else:
            sums[(1,)](read, written, False)
            assert written.tolist() == [2, 3, 4, 5]
        after = {name: getattr(tl, name) for name in names}, tl.tensor.__add__, tl.tensor.__dict__.get("__bool__")
        assert after == before


def test_a_sum_that_32_bits_do_not_hold_wraps() -> None:
    read, written = torch.full((4,), 2**31 - 1, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    sums[(1,)](read, written, False)
    assert written.tolist() == [-(2**31) + 1] * 4


def test_a_type_of_a_block_has_its_own_element_and_shape_however_often_it_is_built() -> None:
    pointer, constant = tl.pointer_type(tl.float16), tl.pointer_type(tl.float16, 1, True)
    elements, shapes = (tl.float16, tl.int32, tl.float16, pointer, constant), ([4], [tl.constexpr(4)], [1, 4], [4, 1])
    for element in elements:
        for shape in shapes:
            built = tl.block_type(element, shape)
            sizes = [tl.core._unwrap_if_constexpr(size) for size in shape]
            assert (built.element_ty, list(built.shape), built.numel) == (element, sizes, 4)
            assert built.name == f"<{built.shape}, {element}>"
            tensor = tl.tensor(None, built)
            assert (tensor.dtype, [size.value for size in tensor.shape], tensor.numel.value) == (element, sizes, 4)
    with pytest.raises(ValueError, match="power of 2"):
        tl.block_type(tl.int32, [3])


@triton.jit
def outer(read, written):
    lanes = tl.arange(0, 4)
    tl.store(written + lanes[:, None] * 4 + lanes[None, :], tl.load(read + lanes)[:, None] * lanes[None, :] + 1)


def test_blocks_of_other_shapes_are_broadcast() -> None:
    read, written = torch.arange(4, dtype=torch.float32), torch.zeros(4, 4)
    outer[(1,)](read, written)
    assert written.tolist() == [[row * column + 1.0 for column in range(4)] for row in range(4)]


@triton.jit
def with_numbers(read, written):
    lanes = tl.arange(0, 4)
    value = tl.load(read + lanes)
    twice = (1 + value) * 2 - (value + 1) // 2 + value % 3 + 7 // (value + 1)
    tl.store(written + lanes, tl.where(value > 1, twice, 0 - value))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_a_number_has_the_type_of_the_tensor_that_it_meets_on_either_side(dtype: torch.dtype) -> None:
    for _ in range(2):  # the second time with constants that are kept
        read, written = torch.arange(4, dtype=dtype), torch.zeros(4, dtype=dtype)
        with_numbers[(1,)](read, written)
        assert written.tolist() == [0, -1, 6 - 1 + 2 + 2, 8 - 2 + 0 + 1]


@triton.jit
def too_large(read, written, NUMBER: tl.constexpr):
    lanes = tl.arange(0, 4)
    tl.store(written + lanes, tl.load(read + lanes) + NUMBER)


def test_a_number_that_a_type_does_not_hold_is_refused_each_time() -> None:
    read, written = torch.arange(4, dtype=torch.uint8), torch.zeros(4, dtype=torch.uint8)
    for number, reason in ((300, "out of range"), (-1, "negative"), (300, "out of range")):
        with pytest.raises(Exception, match=reason):
            too_large[(1,)](read, written, number)
    too_large[(1,)](read, written, 250)
    assert written.tolist() == [250, 251, 252, 253]
    floats, sums = torch.arange(4, dtype=torch.float32), torch.zeros(4)
    for number in (0.5, -0.5, 1, 2.5):
        too_large[(1,)](floats, sums, number)
        assert sums.tolist() == [n + number for n in range(4)]
