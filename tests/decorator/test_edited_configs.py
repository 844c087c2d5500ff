"""An edit of `kernel.configs` in place counts as an assignment does, also for calls that are answered from a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import Bench, add_one, configs, grid_of, tensors, tuned
from tests.decorator.stub import StubDriver, once


def keep_first(kernel: Any) -> None:
    del kernel.configs[1:]


def replace_all(kernel: Any) -> None:
    kernel.configs[:] = configs(32)


def assign(kernel: Any) -> None:
    kernel.configs = configs(32)


def clear_and_append(kernel: Any) -> None:
    kernel.configs.clear()
    kernel.configs.append(triton.Config({"BLOCK": 32}))


def change_knobs(kernel: Any) -> None:
    for config in kernel.configs:
        config.kwargs["BLOCK"] = 32


def assign_knobs(kernel: Any) -> None:
    for config in kernel.configs:
        config.kwargs = {"BLOCK": 32}


def replace_first(kernel: Any) -> None:
    kernel.configs[0] = triton.Config({"BLOCK": 32})
    kernel.configs.pop()


EDITS: dict[str, tuple[Callable[[Any], None], int]] = {  # the block that must run after each
    "del": (keep_first, 16), "slice": (replace_all, 32), "assignment": (assign, 32), "append": (clear_and_append, 32),
    "kwargs in place": (change_knobs, 32), "kwargs assigned": (assign_knobs, 32), "item": (replace_first, 32),
}  # fmt: skip


@runs_kernels
@pytest.mark.parametrize(("edit", "block"), EDITS.values(), ids=EDITS)
def test_each_way_of_editing_decides_the_next_call(edit: Callable[[Any], None], block: int) -> None:
    kernel, (x, y) = tuned(do_bench=Bench(2.0, 1.0)), tensors()
    launch = kernel[grid_of(100)]
    for _ in range(2):
        launch(x, y, 100)
    assert kernel.best_config.kwargs == {"BLOCK": 64}
    edit(kernel)
    launch(x, y, 100)  # also through a launch that was made before
    assert kernel.best_config.kwargs == {"BLOCK": block}
    torch.testing.assert_close(y, x + 1)


@pytest.mark.parametrize(("edit", "block"), EDITS.values(), ids=EDITS)
def test_each_way_of_editing_is_seen_where_a_plan_would_answer(
    stub: StubDriver, edit: Callable[[Any], None], block: int
) -> None:
    kernel, (x, y) = decorated(), torch.zeros(2, 100)
    launch = kernel[grid_of(100)]
    for _ in range(3):
        launch(x, y, 100)
    assert grid_x(stub) == 100 // 64 + 1
    edit(kernel)
    for _ in range(2):
        launch(x, y, 100)
        kernel[grid_of(100)](x, y, 100)
        assert grid_x(stub) == -(-100 // block)


def decorated() -> Any:
    """A kernel whose second config wins."""
    return tunedb.autotune(configs(16, 64), ["n"], do_bench=Bench(2.0, 1.0), name="kernel")(add_one)


def grid_x(stub: StubDriver) -> int:
    """The number of programs of the last launch."""
    number: int = stub.launches[-1][0][0]
    return number


def test_an_options_edit_compiles_another_kernel(stub: StubDriver) -> None:
    kernel = tunedb.autotune(configs(64), ["n"], do_bench=once, name="kernel")(add_one)
    x, y = torch.zeros(2, 100)
    assert [kernel[(1,)](x, y, 100).metadata.num_warps for _ in range(2)] == [4, 4]
    kernel.configs[0].num_warps = 8
    assert [kernel[(1,)](x, y, 100).metadata.num_warps for _ in range(2)] == [8, 8]


def test_reading_the_configs_keeps_the_plans(stub: StubDriver) -> None:
    kernel, (x, y) = decorated(), torch.zeros(2, 100)
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100)
    (plan,) = kernel._launcher.plans._table.values()
    assert len(kernel.configs) == 2
    kernel[grid_of(100)](x, y, 100)
    assert list(kernel._launcher.plans._table.values()) == [plan]


def test_an_assigned_attribute_is_followed_where_a_plan_would_answer(stub: StubDriver) -> None:
    kernel, (x, y) = decorated(), torch.zeros(2, 100)
    for _ in range(2):
        kernel[grid_of(100)](x, y, 100)
    kernel.early_config_prune = lambda configs, named, **_: configs[:1]
    kernel[grid_of(100)](x, y, 100)
    assert grid_x(stub) == 7
    kernel.early_config_prune = None
    kernel.perf_model = lambda BLOCK, **_: -BLOCK
    kernel.configs_top_k = 1
    kernel[grid_of(100)](x, y, 100)
    assert grid_x(stub) == 2


@runs_kernels
def test_a_hook_may_read_the_configs_at_each_launch() -> None:
    def hook(given: Any) -> None:
        assert len(kernel.configs) == 2

    kernel = tuned(configs=[*configs(16, pre_hook=hook), *configs(64, pre_hook=hook)], do_bench=Bench(2.0, 1.0))
    x, y = tensors()
    for _ in range(3):
        kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)


def test_plans_that_were_put_aside_are_dropped_with_the_settings(stub: StubDriver) -> None:
    kernel, (x, y) = decorated(), torch.zeros(2, 100)
    kernel[grid_of(100)](x, y, 100)
    assert len(kernel.configs) == 2
    with tunedb.using(mode="off"):
        kernel[grid_of(100)](x, y, 100)
        assert grid_x(stub) == 7
    kernel[grid_of(100)](x, y, 100)
    assert grid_x(stub) == 2


def test_an_edit_that_fails_is_reported_until_it_is_undone(stub: StubDriver) -> None:
    kernel, (x, y) = decorated(), torch.zeros(2, 100)
    kernel[grid_of(100)](x, y, 100)
    listed = kernel.configs
    listed.append({"BLOCK": 16})
    for _ in range(2):
        with pytest.raises(AttributeError):
            kernel[grid_of(100)](x, y, 100)
    listed.pop()
    kernel[grid_of(100)](x, y, 100)
    assert len(kernel._launcher.plans._table) == 1
