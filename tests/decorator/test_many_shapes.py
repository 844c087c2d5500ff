"""A decorated kernel that meets ever new shapes: what it remembers of them is bounded, also where each has a plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.conftest import DEVICE, runs_kernels
from tests.decorator.kernels import add_one, tuned
from tests.memory import growth
from tunedb.decorator import cache, launcher, resolve
from tunedb.decorator.cache import Cache
from tunedb.decorator.dispatch import graph_capture, grid_cache, plans
from tunedb.decorator.dispatch.grid_cache import GridCache
from tunedb.tuner import choice_cache, usage_counter

MOST = 10
SHAPES = 60


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cache, graph_capture, launcher, plans, resolve):
        monkeypatch.setattr(module, "MAX_PLANS", MOST)
    monkeypatch.setattr(choice_cache, "MAX_CHOICES", MOST)
    monkeypatch.setattr(usage_counter, "MAX_COUNTS", MOST)
    monkeypatch.setattr(grid_cache, "MAX_CLOSURES", MOST)


@runs_kernels
def test_what_is_remembered_of_ever_new_shapes_is_bounded() -> None:
    kernel = tuned(add_one)

    def call(n: int) -> None:
        x = torch.zeros(16, device=DEVICE)
        kernel[(1,)](x, x, n)

    with tunedb.using(mode="record"):
        for n in range(1, SHAPES):
            call(n)
        # The lesser of two: a table of Python's, such as that of `weakref.finalize`, may happen to be enlarged in one.
        grown = min(growth(call, first, SHAPES) for first in (SHAPES, 2 * SHAPES))
    assert grown < SHAPES * 1000  # a shape that stayed would take some 3 KiB
    assert len(kernel.cache) <= MOST
    assert len(kernel._state.asked) <= MOST
    assert len(kernel._launcher._remembered) <= MOST


def test_the_grids_of_one_function_are_bounded() -> None:
    grids = GridCache()
    code = lambda given: (triton.cdiv(given["n"], 16),)  # noqa: E731 (its code is what counts)
    for n in range(10 * MOST):
        assert grids(code, {"n": n}) == (triton.cdiv(n, 16),)
    (cached,) = grids._cached.values()
    assert len(cached.grids) <= MOST
    for n in range(10 * MOST):
        scope: dict[str, Any] = {}
        exec(f"def grid(given): return print and ({n},)", scope)  # names what is not pure
        assert grids(scope["grid"], {}) == (n,)
    assert len(grids._uncached) <= MOST


def test_the_cache_drops_old_records_and_no_entry_that_a_program_assigned() -> None:
    table = Cache(lambda: None)
    table["assigned"] = "forced"
    for n in range(10 * MOST):
        table.put(n, "chosen")
    assert len(table) <= MOST + 1
    assert table["assigned"] == "forced"
    assert table[10 * MOST - 1] == "chosen"
