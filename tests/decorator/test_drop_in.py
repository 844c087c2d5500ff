"""Ways of calling and decorating that Triton takes, together: warm-up, stacked heuristics, shares, clusters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton
import triton.language as tl

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import Bench, add_one, configs, grid_of, tensors, tuned
from tests.decorator.stub import StubDriver, once
from tests.decorator.test_store import stored
from tunedb.store import Store


@triton.jit
def add_twice(x, y, n, FIRST: tl.constexpr, SECOND: tl.constexpr, BLOCK: tl.constexpr = 16):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + FIRST + SECOND, mask=mask)


@runs_kernels
def test_heuristics_may_be_stacked_and_see_what_those_above_set() -> None:
    below = triton.heuristics({"SECOND": lambda given: given["FIRST"] + 1})(add_twice)
    kernel = tuned(triton.heuristics({"FIRST": lambda given: given["BLOCK"]})(below), do_bench=Bench(1.0, 2.0))
    x, y = tensors()
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100)
        torch.testing.assert_close(y, x + 33)


@runs_kernels
def test_a_share_of_the_configs_is_one_of_the_whole_list() -> None:
    seen: list[int] = []

    def model(BLOCK: int, **_: Any) -> float:
        seen.append(BLOCK)
        return float(BLOCK)

    pruning = {"early_config_prune": lambda configs, named, **_: configs[:3], "perf_model": model, "top_k": 0.5}
    bench = Bench(1.0)
    kernel, (x, y) = tuned(blocks=(16, 32, 64, 128), prune_configs_by=pruning, do_bench=bench), tensors()
    kernel[grid_of(100)](x, y, 100)
    assert (seen, bench.timed) == ([16, 32, 64], 2)


@runs_kernels
def test_defaults_and_arguments_by_name_in_any_order_are_one_problem(store: Store) -> None:
    @triton.jit
    def add_some_by_default(x, y, n, some: tl.constexpr = 1, BLOCK: tl.constexpr = 16):
        offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = offsets < n
        tl.store(y + offsets, tl.load(x + offsets, mask=mask) + some, mask=mask)

    bench = Bench(1.0, 2.0)
    kernel, (x, y) = tuned(add_some_by_default, key=["n", "some"], do_bench=bench), tensors()
    kernel[grid_of(100)](x, y, 100)
    kernel[grid_of(100)](n=100, y=y, x=x)
    kernel[grid_of(100)](some=1, y=y, x=x, n=100)
    torch.testing.assert_close(y, x + 1)
    assert (bench.timed, len(stored(store))) == (2, 1)


@pytest.mark.parametrize("dtype_in_place_of_a_tensor", [False, True])
def test_a_warm_up_compiles_every_config_and_stores_nothing(
    stub: StubDriver, store: Store, dtype_in_place_of_a_tensor: bool
) -> None:
    kernel = tunedb.autotune(configs(16, 64), ["n"], do_bench=once, name="kernel")(add_one)
    x: Any = torch.float32 if dtype_in_place_of_a_tensor else torch.zeros(64)
    compiled = kernel.warmup(x, x, 64, grid=(1,))
    assert len(compiled) == len(kernel.run(x, x, 64, grid=(1,), warmup=True)) == 2
    assert (stub.launches, stored(store)) == ([], [])


def test_a_cluster_of_blocks_is_compiled_and_stored(stub: StubDriver, store: Store) -> None:
    some = [*configs(16, num_ctas=2), *configs(16)]
    kernel = tunedb.autotune(some, ["n"], do_bench=Bench(1.0, 2.0), name="kernel")(add_one)
    x, y = torch.zeros(2, 64)
    assert [kernel[(1,)](x, y, 64).metadata.num_ctas for _ in range(2)] == [2, 2]
    (sweep,) = stored(store)
    assert sweep.config is not None
    assert sweep.config["num_ctas"] == 2
