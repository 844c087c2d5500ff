"""Decorated kernels in compiled and traced code, on a GPU that is not there: Dynamo believes in it, and traces."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _triton
from triton.tools.tensor_descriptor import TensorDescriptor

import tunedb
from tests.conftest import INTERPRETED
from tests.decorator.dynamo import dynamo as dynamo  # a fixture
from tests.decorator.kernels import EVEN, Bench, accumulate, add_even, grid_of, tuned
from tests.decorator.stub import StubDriver
from tests.decorator.test_dispatch import copy_tiles
from tunedb import StoreUnavailable
from tunedb.decorator import inductor
from tunedb.runtime import compat_triton
from tunedb.tuner import session

pytestmark = [
    pytest.mark.usefixtures("dynamo"),
    pytest.mark.skipif(INTERPRETED, reason="Dynamo knows no interpreted kernels"),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of what it imports
]


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


@triton.jit
def add_bias(x, bias, y, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    value = tl.load(x + offsets, mask=mask)
    if bias is not None:
        value += tl.load(bias + offsets, mask=mask)
    tl.store(y + offsets, value, mask=mask)


def test_an_argument_may_be_a_tensor_or_none(stub: StubDriver) -> None:
    kernel = tuned(add_bias, do_bench=Bench(2.0, 1.0, 1.0, 2.0))

    def function(x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        y = torch.empty_like(x)
        kernel[grid_of(100)](x, bias, y, 100)
        return y

    def found(*given: Any) -> list[list[int]]:
        torch._dynamo.reset()
        graphs = Graphs()
        torch.compile(function, backend=graphs, fullgraph=True)(*given)
        return graphs.lists()

    x = torch.zeros(100)
    kernel[grid_of(100)](x, x, x, 100)
    assert (found(x, x), found(x)) == ([[64]], [[16, 64]])
    kernel[grid_of(100)](x, None, x, 100)
    assert (found(x, x), found(x), found(x, x.half())) == ([[64]], [[16]], [[16, 64]])


@triton.jit
def add_flagged(x, y, n, bias=None, FLAG: tl.constexpr = False, BLOCK: tl.constexpr = 16):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y + offsets, tl.load(x + offsets, mask=mask) + FLAG, mask=mask)


def test_arguments_that_have_defaults_are_compared_too(stub: StubDriver) -> None:
    kernel = tuned(add_flagged, do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_a_dynamic_size_stays_dynamic(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    sizes = range(100, 112)
    for n in sizes:
        kernel[grid_of(n)](torch.zeros(n), torch.zeros(n), n)
    graphs = Graphs()
    call = torch.compile(function_of(kernel), backend=graphs, fullgraph=True, dynamic=True)
    for n in sizes:
        call(torch.zeros(n))
    assert graphs.lists() == [[16, 64]]
    torch._dynamo.reset()
    x = torch.zeros(100)
    torch._dynamo.mark_dynamic(x, 0)
    torch.compile(function_of(kernel), backend=Graphs(), fullgraph=True)(x)


def test_what_another_process_has_tuned_is_seen_when_the_store_answers_or_code_is_compiled(
    stub: StubDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = [tuned(do_bench=Bench(1.0)) for _ in range(2)]
    assert [kernel.early_config_prune for kernel in kernels] == [None, None]
    tuned(do_bench=Bench(2.0, 1.0))[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)  # the other process
    assert kernels[0].early_config_prune is None
    kernels[0][grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    assert kernels[0].early_config_prune is not None
    late = time.monotonic() + inductor.LIFETIME_S
    monkeypatch.setattr(inductor, "time", SimpleNamespace(monotonic=lambda: late))
    assert kernels[1].early_config_prune is None  # as a call of compiled code reads it
    call, graphs = compiled(kernels[1])
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_descriptors_are_compared_by_what_can_be(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("has_triton_tensor_descriptor_host_tma", "has_triton_tma_device", "has_triton_tma"):
        monkeypatch.setattr(_triton, name, lambda **_: True, raising=False)
    kernel = tuned(copy_tiles, do_bench=Bench(2.0, 1.0))

    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        kernel[(4,)](TensorDescriptor.from_tensor(x, [16, 16]), TensorDescriptor.from_tensor(y, [16, 16]), 64)
        return y

    x = torch.zeros(64, 64, dtype=torch.float16)
    function(x)
    graphs = Graphs()
    torch.compile(function, backend=graphs, fullgraph=True)(x)
    assert graphs.lists() == [[64]]


@pytest.mark.parametrize(
    "given", [{}, {"reset_to_zero": ["y"]}, {"restore_value": ["y"]}, {"bucket": {"n": tunedb.pow2}}]
)
def test_a_call_of_compiled_code_asks_no_store(
    stub: StubDriver, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0), **given)
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    monkeypatch.setattr(inductor, "_stored_places", lambda _: pytest.fail("the store was asked"))
    for _ in range(3):
        call(torch.zeros(100))
    assert graphs.lists() == [[64]]


@pytest.mark.usefixtures("patience")
def test_a_store_that_fails_leaves_compiled_code_valid(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    call, graphs = compiled(kernel)
    call(torch.zeros(100))

    def fails(_: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(inductor, "_stored_places", fails)
    session.clear_plans()
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_a_list_that_was_changed_in_place_is_todays(stub: StubDriver) -> None:
    kernel = tuned(do_bench=Bench(2.0, 1.0))
    kernel[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    kernel.configs.insert(0, triton.Config({"BLOCK": 128}))
    call, graphs = compiled(kernel)
    call(torch.zeros(100))
    assert graphs.lists() == [[64]]


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
    assert graphs.lists() == [[64] if torch.__version__ >= inductor.MIN_TORCH_WITH_HEURISTICS else [16, 64]]
    assert stub.launches[-1][1][2:4] == (128, True)


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

    monkeypatch.setattr(compat_triton, "current_device", absent)
    for given in ({}, {"reset_to_zero": ["y"]}):
        kernel = tuned(accumulate, **given)
        assert kernel.early_config_prune is None
        prune = inductor.make_pruning(kernel._state)
        assert prune(["one", "other"], {"n": 100}) == ["one", "other"][: 1 if given else 2]
