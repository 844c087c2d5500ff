"""Adopted kernels in compiled code: Dynamo never calls them, and finds the stored choice where it looks for pruning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton

import tunedb
from tests.adoption.kernels import call, plain, record_of
from tests.conftest import INTERPRETED
from tests.decorator.dynamo import dynamo as dynamo  # a fixture
from tests.decorator.kernels import EVEN, Bench, accumulate, add_even, grid_of
from tests.decorator.stub import StubDriver
from tests.decorator.test_inductor import Graphs, compiled, function_of
from tunedb.decorator import inductor

pytestmark = [
    pytest.mark.usefixtures("dynamo"),
    pytest.mark.skipif(INTERPRETED, reason="Dynamo knows no interpreted kernels"),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of what it imports
]


def test_the_stored_choice_is_the_only_config_of_a_kernel_that_is_never_called(
    adoption: object, stub: StubDriver
) -> None:
    call(plain(do_bench=Bench(2.0, 1.0)))
    kernel = plain()
    compiled_call, graphs = compiled(kernel)
    for _ in range(3):
        compiled_call(torch.zeros(100))
    assert graphs.lists() == [[64]]
    assert record_of(kernel).state == "adopted"


@pytest.mark.parametrize("given", [{}, {"skip": "tests.*"}])
def test_without_a_stored_choice_torch_gets_all_configs(stub: StubDriver, given: dict[str, Any]) -> None:
    with tunedb.adopt():
        call(plain(do_bench=Bench(2.0, 1.0)), 101)
    with tunedb.adopt(**given):
        compiled_call, graphs = compiled(plain())
        compiled_call(torch.zeros(100))
        compiled_call(torch.zeros(100))
        assert graphs.lists() == [[16, 64]]


def test_code_that_is_compiled_in_parts_stays_valid(adoption: object) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    call(kernel)
    inner, graphs = function_of(kernel), Graphs()

    def outer(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return inner(x) + 1

    compiled_call = torch.compile(outer, backend=graphs)
    for _ in range(3):
        compiled_call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_what_the_user_gave_for_pruning_stays_the_users(adoption: object) -> None:
    def last(configs: list[Any], named_args: dict[str, Any], **kwargs: Any) -> list[Any]:
        return configs[1:]

    kernel = plain(blocks=(16, 32, 64), prune_configs_by={"early_config_prune": last}, do_bench=Bench(1.0, 2.0))
    call(kernel)
    compiled_call, graphs = compiled(kernel)
    compiled_call(torch.zeros(100))
    assert graphs.lists() == [[32, 64]]


def test_everyone_else_reads_what_the_instance_has(adoption: object) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    call(kernel)
    compiled_call, graphs = compiled(kernel)
    compiled_call(torch.zeros(100))
    assert graphs.lists() == [[64]]
    assert kernel.early_config_prune is None
    assert getattr(kernel, "early_config_prune") is None  # noqa: B009 - another way to name it
    assert vars(kernel)["early_config_prune"] is None


def test_at_the_end_code_is_compiled_again_with_all_configs(stub: StubDriver) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    with tunedb.adopt():
        call(kernel)
        compiled_call, graphs = compiled(kernel)
        compiled_call(torch.zeros(100))
    compiled_call(torch.zeros(100))
    assert graphs.lists() == [[64], [16, 64]]


def test_heuristics_below_are_applied_by_dynamo(adoption: object) -> None:
    kernel = plain(jit=triton.heuristics(EVEN)(add_even), do_bench=Bench(2.0, 1.0))
    call(kernel, 128)
    compiled_call, graphs = compiled(kernel)
    compiled_call(torch.zeros(128))
    assert graphs.lists() == [[64] if torch.__version__ >= inductor.MIN_TORCH_WITH_HEURISTICS else [16, 64]]


def test_kernels_that_reset_get_one_config_or_all(adoption: object) -> None:
    kernel = plain(jit=accumulate, reset_to_zero=["y"], do_bench=Bench(2.0, 1.0, 1.0, 2.0))
    call(kernel)
    compiled_call, graphs = compiled(kernel)
    compiled_call(torch.zeros(100))
    assert graphs.lists() == [[64]]


def test_a_wrapped_kernel_is_adopted_in_eager_mode(adoption: object, stub: StubDriver) -> None:
    kernel = plain(do_bench=Bench(2.0, 1.0))
    torch.library.wrap_triton(kernel)[grid_of(100)](torch.zeros(100), torch.zeros(100), 100)
    assert record_of(kernel).state == "adopted"
    assert kernel.best_config is kernel.configs[1]
