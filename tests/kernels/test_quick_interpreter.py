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
