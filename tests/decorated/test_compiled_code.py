"""Decorated kernels in compiled and traced code, on a GPU that is not there: Dynamo believes in it, and traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import triton
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _triton

import tunedb
from tests.conftest import INTERPRETED
from tests.decorated.kernels import EVEN, Bench, accumulate, add_even, grid_of, tuned
from tests.decorated.stub import StubDriver
from tunedb import bound

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="Dynamo knows no interpreted kernels"),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of what it imports
]


@pytest.fixture(autouse=True)
def dynamo(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dynamo looks for a GPU before it knows a Triton kernel."""
    monkeypatch.setattr(_triton, "has_triton", lambda: True)
    torch._dynamo.reset()
    kernel_side_table.reset_table()
    yield
    torch._dynamo.reset()
    kernel_side_table.reset_table()


class Graphs:
    """A backend that keeps what it is handed, and runs it as it is."""

    def __init__(self) -> None:
        self.modules: list[torch.fx.GraphModule] = []

    def __call__(self, module: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.modules.append(module)
        return module.forward

    def lists(self) -> list[list[int]]:
        """The block sizes of the configs that each graph's kernel may run."""
        found = []
        for module in self.modules:
            for node in module.graph.nodes:
                if "kernel_idx" in node.kwargs:
                    kernel = kernel_side_table.get_kernel(node.kwargs["kernel_idx"])
                    found.append([one.kwargs["BLOCK"] for one in kernel.configs])
        return found


def function_of(kernel: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        kernel[grid_of(x.numel())](x, y, x.numel())
        return y

    return function


def compiled(kernel: Any) -> tuple[Callable[[torch.Tensor], torch.Tensor], Graphs]:
    """The function that calls it, compiled without a graph break."""
    graphs = Graphs()
    return torch.compile(function_of(kernel), backend=graphs, fullgraph=True), graphs


@pytest.mark.parametrize("given", [{}, {"restore_value": ["y"]}, {"reset_to_zero": ["y"]}, {"key": ()}])
def test_an_untuned_kernel_is_traced_with_all_its_configs(stub: StubDriver, given: dict[str, Any]) -> None:
    call, graphs = compiled(tuned(do_bench=Bench(1.0, 2.0), **given))
    call(torch.zeros(100))
    assert graphs.lists() == [[16, 64]]


def test_the_stored_choice_is_the_only_config(stub: StubDriver) -> None:
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    stub.launches.clear()
    call, graphs = compiled(tuned(do_bench=Bench(1.0)))  # another process, which has called nothing yet
    call(torch.zeros(100))
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]
    assert [(grid, arguments[2:]) for grid, arguments in stub.launches] == [((2, 1, 1), (100, 64))] * 2


def test_an_override_of_the_list_is_the_only_config(stub: StubDriver) -> None:
    with tunedb.using(override={"kernel": {"BLOCK": 64}}):
        call, graphs = compiled(tuned())
        call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_each_static_shape_gets_its_own_choice(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0, 1.0, 2.0))
    for n in (100, 200):
        kernel[grid_of(n)](torch.zeros(n), torch.zeros(n), n)
    graphs = Graphs()
    for n in (100, 200, 300):
        torch.compile(function_of(kernel), backend=graphs, fullgraph=True, dynamic=False)(torch.zeros(n))
    assert graphs.lists() == [[64], [16], [16, 64]]  # nothing is stored for the last: Inductor times them


def test_what_is_tuned_later_leaves_compiled_code_valid(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0, 1.0, 2.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    for n in range(101, 112):  # more than Dynamo would compile again
        kernel[grid_of(n)](torch.zeros(n), torch.zeros(n), n)
        call(torch.zeros(100))
    assert graphs.lists() == [[64]]
    torch._dynamo.reset()
    call, graphs = compiled(kernel)
    call(torch.zeros(101))
    assert graphs.lists() == [[16]]


def test_a_problem_that_is_not_tuned_gets_the_whole_list(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    for given in (torch.zeros(1000), torch.zeros(100, dtype=torch.float16)):
        torch._dynamo.reset()
        call, graphs = compiled(kernel)
        call(given)
        assert graphs.lists() == [[16, 64]]


@pytest.mark.parametrize(("top_k", "left"), [(1.0, [16, 64]), (1, [64])])
def test_a_performance_model_is_dynamos_to_apply(stub: StubDriver, top_k: float, left: list[int]) -> None:
    model = {"perf_model": lambda *_, BLOCK, **__: 1 / BLOCK, "top_k": top_k}
    kernel = tuned(do_bench=Bench(2.0, 1.0), prune_configs_by=model)
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    assert graphs.lists() == [left]


def test_kernels_that_reset_or_restore_get_one_config_or_all(stub: StubDriver) -> None:
    kernel = tuned(accumulate, reset_to_zero=["y"], do_bench=Bench(2.0, 1.0, 1.0, 2.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]
    kernel[grid_of(200)](torch.zeros(200), torch.zeros(200), 200)
    other, more = compiled(kernel)
    other(torch.zeros(100))
    assert more.lists() == [[16, 64]]
    (idx,) = (node.kwargs["kernel_idx"] for node in more.modules[0].graph.nodes if "kernel_idx" in node.kwargs)
    assert kernel_side_table.get_kernel(idx) is kernel  # with what is to be reset


def test_heuristics_below_are_applied_by_dynamo(stub: StubDriver) -> None:
    kernel = tuned(triton.heuristics(EVEN)(add_even), do_bench=Bench(2.0, 1.0))
    kernel[grid_of(128)](torch.zeros(128), torch.zeros(128), 128)
    call, graphs = compiled(kernel)
    call(torch.zeros(128))
    assert graphs.lists() == [[64]]
    assert stub.launches[-1][1][2:] == (128, True, 64)


def test_a_users_hook_is_refused_as_dynamo_refuses_it(stub: StubDriver) -> None:
    call, _ = compiled(tuned(pre_hook=lambda *_, **__: None, do_bench=Bench(1.0)))
    with pytest.raises(torch._dynamo.exc.Unsupported, match="pre_hook and post_hook are not supported"):
        call(torch.zeros(100))


def test_a_users_pruning_function_stays_the_users(stub: StubDriver) -> None:
    def last(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        return configs[1:]

    kernel = tuned(blocks=(16, 32, 64), prune_configs_by={"early_config_prune": last}, do_bench=Bench(1.0, 2.0))
    assert kernel.early_config_prune is last
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    assert graphs.lists() == [[32, 64]]


def test_wrap_triton_traces_the_stored_choice(stub: StubDriver) -> None:
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    kernel = tuned(do_bench=Bench(1.0))
    wrapped = torch.library.wrap_triton(kernel)
    graph = make_fx(function_of(wrapped))(torch.zeros(100))
    graphs = Graphs()
    graphs.modules.append(graph)
    assert graphs.lists() == [[64]]


def test_mode_off_leaves_the_list_alone(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    with tunedb.using(mode="off"):
        call(torch.zeros(100))
    assert graphs.lists() == [[16, 64]]


def test_what_compiled_code_reads_is_there_without_a_device(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> int:
        raise RuntimeError("0 active drivers ([]). There should only be one.")

    monkeypatch.setattr(bound, "current_device", lambda: absent)
    assert tuned(accumulate, reset_to_zero=["y"]).early_config_prune is None
    assert tuned().early_config_prune(["one", "other"], {"n": 100}) == ["one", "other"]
