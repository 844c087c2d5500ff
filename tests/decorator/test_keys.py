"""Calls whose `key` has a value that JSON lacks are tuned once, and looked up by the next process."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from tests.conftest import INTERPRETED, runs_kernels
from tests.decorator.kernels import Bench, grid_of, new_process, tensors, tuned
from tests.decorator.stub import StubDriver
from tests.decorator.test_identity import Color, Foreign, Holder, Whole, Word
from tests.decorator.test_store import stored
from tunedb.store import Store


@triton.jit
def add_as(x, y, n, way: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + 1, mask=mask)


WAYS: list[Any] = [
    Color.RED, Color.BLUE, Whole.TWO, Word.ONE, float("inf"), float("nan"), 2**63, "a\0", b"a", (1, 2), Holder((1, 2)),
]  # fmt: skip
if INTERPRETED:
    WAYS.append("\ud800")  # Triton's compiler can't encode it


@runs_kernels
@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_a_call_is_tuned_once_and_looked_up_by_the_next_process(store: Store, way: Any) -> None:
    bench = Bench(2.0, 1.0)
    x, y = tensors()
    for _ in range(2):
        kernel = tuned(add_as, key=["way"], do_bench=bench)
        for _ in range(2):
            kernel[grid_of(100)](x, y, 100, way)
            torch.testing.assert_close(y, x + 1)
        assert (bench.timed, kernel.best_config) == (2, kernel.configs[1])
        new_process()


class Unhashable(int):
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class Raising(int):
    def __hash__(self) -> int:
        raise RuntimeError("asked for a hash")


class Hidden(float):
    def hex(self) -> str:
        raise RuntimeError("asked for its digits")


class Meta(type):
    def __getattr__(cls, name: str) -> None:
        raise RuntimeError(f"asked for {name}")


class Closed(metaclass=Meta):
    pass


@dataclasses.dataclass(frozen=True)
class Listing:
    items: list[int]


ODD = [Unhashable(4), Raising(4), Hidden(2.0), Closed(), Listing([1, 2]), {"a": 1}, {1}, (Unhashable(4),)]


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="a compiled kernel takes no such argument")
@pytest.mark.parametrize("way", ODD, ids=[str(place) for place in range(len(ODD))])
def test_an_argument_whose_class_can_not_be_asked_costs_no_call_its_result(store: Store, way: Any) -> None:
    bench = Bench(2.0, 1.0)
    kernel, (x, y) = tuned(add_as, do_bench=bench), tensors()
    for _ in range(3):
        y.fill_(7.0)
        kernel[grid_of(100)](x, y, 100, way)
        torch.testing.assert_close(y, x + 1)
    assert (bench.timed, kernel.best_config) == (2, kernel.configs[1])


@runs_kernels
@pytest.mark.skipif(not INTERPRETED, reason="a compiled kernel takes no such argument")
def test_a_key_that_can_not_be_stored_runs_the_first_config(store: Store) -> None:
    kernel, (x, y) = tuned(add_as, key=["way"], do_bench=Bench(2.0, 1.0)), tensors()
    kernel[grid_of(100)](x, y, 100, threading.Lock())
    torch.testing.assert_close(y, x + 1)
    assert (kernel.best_config, stored(store)) == (kernel.configs[0], [])


def test_arrays_of_another_library_are_tuned_by_their_dtypes(stub: StubDriver, store: Store) -> None:
    bench = Bench(2.0, 1.0)
    kernel = tuned(add_as, key=["way"], do_bench=bench)
    for dtype in ("float32", "float16", "float32"):
        kernel[(1,)](Foreign(dtype), Foreign(dtype), 100, None)
    assert bench.timed == 4
    assert {sweep.problem["x.dtype"] for sweep in stored(store)} == {"float32", "float16"}
