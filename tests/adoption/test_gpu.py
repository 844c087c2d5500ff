"""Adopted kernels on a GPU: results, what a later process finds, compiled code, and a captured graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.adoption.kernels import record_of
from tests.adoption.test_attributes import add_given
from tests.decorator.kernels import accumulate, add_in_place, add_one, configs, grid_of, new_process

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def adoption() -> Iterator[None]:
    """All kernels are adopted."""
    with tunedb.adopt():
        yield


def plain(jit: Any = add_one, **given: Any) -> Any:
    """A kernel of Triton's, which tunedb's own clock times."""
    return triton.autotune(configs(64, 256, 1024), ["n"], **given)(jit)


def test_results_are_tritons_and_a_later_process_tunes_nothing() -> None:
    x = torch.randn(5000, device="cuda")
    for _ in range(2):
        y = torch.empty_like(x)
        kernel = plain()
        for _ in range(3):
            kernel[grid_of(5000)](x, y, 5000)
        torch.testing.assert_close(y, x + 1)
        assert record_of(kernel).state == "adopted"
        new_process()
    assert not hasattr(kernel, "bench_time")  # as Triton leaves it if nothing was timed
    assert len(kernel.configs_timings) == 3


def test_what_tuning_writes_is_undone() -> None:
    x = torch.zeros(1000, device="cuda")
    kernel = plain(add_in_place, restore_value=["x"])
    kernel[grid_of(1000)](x, 1000)
    kernel[grid_of(1000)](x, 1000)
    assert x.eq(2.0).all()
    y = torch.zeros_like(x)
    plain(accumulate, reset_to_zero=["y"])[grid_of(1000)](x, y, 1000)
    torch.testing.assert_close(y, x)


def test_optional_pointers_may_be_none() -> None:
    kernel = plain(add_given, reset_to_zero=["y"], restore_value=["x"])
    y = torch.zeros(1000, device="cuda")
    for _ in range(2):
        kernel[grid_of(1000)](None, y, 1000)
        kernel[grid_of(1000)](y, None, 1000)
    assert y.eq(1.0).all()


@pytest.mark.filterwarnings("ignore")  # torch's own, of what it imports
def test_compiled_code_runs_the_stored_choice() -> None:
    kernel = plain()

    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        kernel[grid_of(5000)](x, y, 5000)
        return y

    x = torch.randn(5000, device="cuda")
    torch.testing.assert_close(function(x), x + 1)
    compiled = torch.compile(function, fullgraph=True)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), x + 1)


def test_a_captured_graph_replays_it() -> None:
    x, kernel = torch.zeros(1000, device="cuda"), plain(add_in_place)
    kernel[grid_of(1000)](x, 1000)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel[grid_of(1000)](x, 1000)
    x.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert x.eq(1.0).all()
