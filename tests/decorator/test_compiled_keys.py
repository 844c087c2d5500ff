"""What compiled code keeps of a decoration: a choice for each key, as Triton's autotuner and ours, eager and compiled.

Dynamo runs on a GPU that is not there; what Inductor makes of its graphs is looked at on a real one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table
from torch._inductor.utils import run_and_get_code

import tunedb
from tests.conftest import INTERPRETED
from tests.decorator.dynamo import dynamo as dynamo  # a fixture
from tests.decorator.kernels import Bench, accumulate, add_one, configs, new_process, tuned
from tests.decorator.test_inductor import Graphs, function_of

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="Dynamo knows no interpreted kernels"),
    pytest.mark.filterwarnings("ignore"),  # torch's own, of what it imports
]

SIZES = (100, 200)  # two problems; of the blocks 16 and 64, the second is chosen for the first, and the reverse
ALL = [16, 64]


def tritons() -> Any:
    """A kernel with Triton's own decorator, which chooses as ours does below."""
    return triton.autotune(configs(*ALL), ["n"], do_bench=Bench(2.0, 1.0, 1.0, 2.0))(add_one)


def ours(device: str = "cpu") -> Any:
    """A kernel of another process than the one that tuned it for the sizes."""
    kernel = tuned(do_bench=Bench(2.0, 1.0, 1.0, 2.0))
    for n in SIZES:
        function_of(kernel)(plain(n, device))
    new_process()
    return tuned(do_bench=Bench(1.0))


def adopted() -> Any:
    """A kernel with Triton's decorator, of another process than the one in which tunedb adopted and tuned it."""
    kernel = tritons()
    for n in SIZES:
        function_of(kernel)(plain(n))
    new_process()
    return tritons()


def plain(n: int, device: str = "cpu") -> torch.Tensor:
    return torch.zeros(n, device=device)


def static(n: int) -> torch.Tensor:
    x = plain(n)
    torch._dynamo.mark_static(x, 0)
    return x


def lists_of(kernel: Any, make: Callable[[int], torch.Tensor], **how: Any) -> list[list[int]]:
    """The block sizes left to each graph of one function that is called with both sizes."""
    graphs = Graphs()
    call = torch.compile(function_of(kernel), backend=graphs, fullgraph=True, **how)
    for n in SIZES:
        call(make(n))
    return graphs.lists()


EACH = [[64], [16]]  # of ours: a graph for each size, with that size's choice
PER_SHAPE: list[Any] = [
    ("each size compiles on its own", plain, {"dynamic": False}, [ALL, ALL], EACH),
    ("a size is marked as static", static, {}, [ALL, ALL], EACH),
    ("the second size makes it dynamic", plain, {}, [ALL, ALL], [[64], ALL]),
    ("a dynamic size is one graph", plain, {"dynamic": True}, [ALL], [ALL]),
]


@pytest.mark.parametrize(
    ("make", "how", "theirs", "mine"), [row[1:] for row in PER_SHAPE], ids=[row[0] for row in PER_SHAPE]
)
@pytest.mark.usefixtures("dynamo")
def test_a_graph_of_a_static_size_has_the_choice_of_its_key_and_triton_autotunes_has_all_configs(
    make: Callable[[int], torch.Tensor], how: dict[str, Any], theirs: list[list[int]], mine: list[list[int]]
) -> None:
    assert lists_of(tritons(), make, **how) == theirs
    torch._dynamo.reset()
    assert lists_of(ours(), make, **how) == mine
    torch._dynamo.reset()
    with tunedb.adopt():
        assert lists_of(adopted(), make, **how) == mine


@pytest.mark.usefixtures("dynamo")
def test_a_graph_with_two_calls_has_the_choice_of_each() -> None:
    kernel, graphs = ours(), Graphs()

    def both(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return function_of(kernel)(first), function_of(kernel)(second)

    torch.compile(both, backend=graphs, fullgraph=True)(*map(plain, SIZES))
    assert graphs.lists() == EACH


@pytest.mark.parametrize("given", [{"reset_to_zero": ["y"]}, {"restore_value": ["y"]}])
@pytest.mark.usefixtures("dynamo")
def test_what_is_reset_and_restored_reaches_inductor_while_several_configs_are_left(given: dict[str, Any]) -> None:
    """With Triton's decorator too; both lose it if a pruning function leaves several, which ours never does."""

    def seen(kernel: Any) -> list[tuple[int, list[str], list[str]]]:
        graphs = Graphs()
        torch.compile(function_of(kernel), backend=graphs, fullgraph=True)(plain(100))
        (index,) = (node.kwargs["kernel_idx"] for node in graphs.modules[0].graph.nodes if "kernel_idx" in node.kwargs)
        found = kernel_side_table.get_kernel(index)
        torch._dynamo.reset()
        return [(len(found.configs), list(found.reset_to_zero), list(found.restore_value))]

    asked = [(2, given.get("reset_to_zero", []), given.get("restore_value", []))]
    assert seen(triton.autotune(configs(*ALL), ["n"], **given)(accumulate)) == asked
    assert seen(tuned(accumulate, **given)) == asked
    pruned = {"prune_configs_by": {"early_config_prune": lambda configs, named, **_: configs}}
    assert seen(triton.autotune(configs(*ALL), ["n"], **given, **pruned)(accumulate)) == [(2, [], [])]


HOOKS: list[Any] = [
    {"pre_hook": lambda *_, **__: None}, {"post_hook": lambda *_, **__: None},
    {"configs": [triton.Config({"BLOCK": block}, pre_hook=lambda _: None) for block in ALL]},
]  # fmt: skip


@pytest.mark.parametrize("given", HOOKS, ids=["pre_hook", "post_hook", "a config's"])
@pytest.mark.usefixtures("dynamo")
def test_hooks_are_refused_with_either_decorator(given: dict[str, Any]) -> None:
    theirs = triton.autotune(given.get("configs", configs(*ALL)), ["n"], **_without_configs(given))(add_one)
    for kernel in (theirs, tuned(**given)):
        with pytest.raises(torch._dynamo.exc.Unsupported, match="pre_hook and post_hook are not supported"):
            torch.compile(function_of(kernel), backend=Graphs(), fullgraph=True)(plain(100))


def _without_configs(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "configs"}


# On a GPU, with Inductor.


def generated(kernel: Any, **how: Any) -> list[list[int]]:
    """The block sizes that Inductor's code may run, for each kernel that it generated; checks the results."""
    call = torch.compile(function_of(kernel), fullgraph=True, **how)

    def run() -> None:
        for n in SIZES:
            torch.testing.assert_close(call(plain(n, "cuda")), plain(n, "cuda") + 1)

    with torch._inductor.config.patch(force_disable_caches=True):  # the code of an earlier run would not be seen
        _, codes = run_and_get_code(run)
    torch._dynamo.reset()
    lists = re.findall(r"user_autotune\(\s*configs=(\[.*?\]),\s*inductor_meta", "\n".join(codes), re.DOTALL)
    return [[int(block) for block in re.findall(r"'BLOCK': (\d+)", text)] for text in lists]


@pytest.mark.gpu
def test_inductor_times_a_dynamic_kernel_of_tritons_once_for_all_sizes_and_gets_ours_for_each_static_one() -> None:
    kernel = tritons()
    for n in SIZES:
        function_of(kernel)(plain(n, "cuda"))
    assert [config.kwargs["BLOCK"] for config in kernel.cache.values()] == [64, 16]  # eager Triton: one for each key
    assert generated(kernel, dynamic=True) == [ALL]  # compiled: one kernel, and its key is not in the code
    assert generated(kernel, dynamic=False) == [ALL, ALL]
    assert generated(ours("cuda"), dynamic=False) == EACH
