"""A launch of nothing measures nothing: nothing of it is stored or remembered, and the first real call tunes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.conftest import runs_kernels
from tests.decorator.kernels import EVEN, Bench, add_even, add_one, configs, grid_of, tensors, tuned
from tests.decorator.stub import StubDriver, once
from tests.decorator.test_store import stored
from tunedb import SettingError
from tunedb.store import Store
from tunedb.tuner import session

EMPTY_GRIDS: dict[str, Any] = {
    "(0,)": (0,),
    "(0, n)": (0, 7),
    "(n, 0, 1)": (7, 0, 1),
    "function": lambda given: (given["n"] // 1000,),
    "function of knobs": lambda given: (0 * given["BLOCK"], 7),
    "negative": (-1,),
}


@runs_kernels
@pytest.mark.parametrize("grid", EMPTY_GRIDS.values(), ids=EMPTY_GRIDS)
def test_an_empty_grid_stores_nothing_and_the_next_call_tunes(store: Store, grid: Any) -> None:
    bench = Bench(2.0, 1.0)
    kernel, (x, y) = tuned(do_bench=bench), tensors()
    for _ in range(2):
        kernel[grid](x, y, 100)
    assert (bench.timed, stored(store), kernel.cache) == (0, [], {})
    assert torch.equal(y, torch.full_like(y, 7.0))
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert (bench.timed, kernel.best_config) == (2, kernel.configs[1])
    kernel[grid](x, y, 100)
    assert len(stored(store)) == 1


@runs_kernels
def test_tensors_without_elements_store_nothing(store: Store) -> None:
    bench = Bench(2.0, 1.0)
    kernel, (x, y) = tuned(do_bench=bench, key=()), tensors()
    kernel[(1,)](x[:0], y[:0], 0)
    assert (bench.timed, stored(store)) == (0, [])
    kernel[grid_of(100)](x, y, 100)
    assert bench.timed == 2


@runs_kernels
def test_an_empty_tensor_among_others_is_a_problem_of_its_own(store: Store) -> None:
    bench = Bench(2.0, 1.0, 1.0, 2.0)
    kernel, (x, y) = tuned(do_bench=bench, key=()), tensors()
    kernel[(1,)](x[:0], y, 0)  # it has a program, which finds nothing to do
    kernel[grid_of(100)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    assert kernel.best_config is kernel.configs[0]
    layouts = [sweep.problem["x.layout"] for sweep in stored(store)]
    assert layouts == ["empty", "rows"]


@runs_kernels
def test_heuristics_are_seen_by_the_grid() -> None:
    bench = Bench(2.0, 1.0)
    kernel, (x, y) = tuned(triton.heuristics(EVEN)(add_even), do_bench=bench), tensors(128)
    kernel[lambda given: (0 if given["EVEN"] else 1,)](x, y, 128)
    assert bench.timed == 0


@runs_kernels
def test_a_config_whose_grid_is_empty_can_not_win(store: Store) -> None:
    kernel, (x, y) = tuned(blocks=(64, 128), do_bench=Bench(2.0, 1.0)), tensors()
    kernel[lambda given: (2 if given["BLOCK"] == 64 else 0,)](x, y, 100)
    torch.testing.assert_close(y, x + 1)
    (sweep,) = stored(store)
    assert {trial.config["BLOCK"]: trial.status for trial in sweep.trials} == {64: "ok", 128: "pruned"}


@runs_kernels
@pytest.mark.parametrize("mode", ["tune", "record", "read", "strict", "off"])
def test_nothing_is_missed_in_any_mode(store: Store, mode: str) -> None:
    kernel, (x, y) = tuned(), tensors()
    with tunedb.using(mode=mode):
        kernel[(0,)](x, y, 100)
    session.active().close()
    assert store.usage.by_source() == {}


@runs_kernels
def test_errors_of_a_grid_function_and_of_a_missing_argument_are_tritons() -> None:
    kernel, (x, y) = tuned(), tensors()
    with pytest.raises(ZeroDivisionError):
        kernel[lambda given: (1 // 0,)](x, y, 100)
    with pytest.raises(TypeError, match="argument"):
        kernel[lambda given: (given["n"],)](x, y)


@pytest.mark.parametrize("made", [lambda x: ((0,), x), lambda x: ((1,), x[:0])], ids=["grid", "tensors"])
def test_warm_refuses_a_call_that_launches_nothing(made: Callable[..., Any]) -> None:
    def arguments(device: torch.device, n: int) -> tuple[Any, dict[str, Any]]:
        grid, x = made(torch.zeros(n, device=device))
        return grid, {"x": x, "y": x, "n": n}

    registered = tuned().registered(arguments)
    problem = registered.problem({"n": 8})
    with pytest.raises(SettingError, match="launches nothing: its grid is empty"):
        registered.workload(problem, -1)


@pytest.mark.parametrize("made", [None, 1, (1,), (1, 2), ((1,), None), ((1,), {}, 3), ((1,), ["x"])])
def test_warm_refuses_what_is_no_call(made: Any) -> None:
    with pytest.raises(SettingError, match=r"kernel: its function can't make a call from n=8\. \w+Error: "):
        tuned().registered(lambda device, n: made).problem({"n": 8})


@pytest.mark.parametrize("grid", [(0,), lambda given: (0, given["BLOCK"])])
def test_a_gpu_plans_no_empty_launch(stub: StubDriver, store: Store, grid: Any) -> None:
    kernel, (x, y) = tunedb.autotune(configs(16, 64), ["n"], do_bench=once, name="kernel")(add_one), torch.zeros(2, 64)
    for _ in range(2):
        kernel[grid](x, y, 64)
    assert (len(kernel._launcher.plans._table), stored(store)) == (0, [])
    for _ in range(2):
        kernel[(1,)](x, y, 64)
    assert (len(kernel._launcher.plans._table), len(stored(store))) == (1, 1)
    kernel[grid](x, y, 64)
    assert stub.launches[-1][0][0] == 0  # from the plan


def test_an_empty_tensor_that_is_always_there_gets_a_plan_and_a_rare_one_does_not(stub: StubDriver) -> None:
    def decorated() -> Any:
        return tunedb.autotune(configs(16, 64), [], do_bench=once, name="kernel")(add_one)

    x, y = torch.zeros(2, 64)
    kernel = decorated()
    for _ in range(2):
        kernel[(1,)](x[:0], y, 0)
    assert len(kernel._launcher.plans._table) == 0
    for _ in range(2):
        kernel[(1,)](x, y, 64)
    assert len(kernel._launcher.plans._table) == 1
    kernel = decorated()
    for _ in range(20):
        kernel[(1,)](x[:0], y, 64)
    assert len(kernel._launcher.plans._table) == 1
