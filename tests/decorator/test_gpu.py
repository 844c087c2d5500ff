"""What only a GPU has: real CUDA graphs, profilers, streams, Inductor, and how many configs it is handed."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import triton
from triton import knobs
from triton.tools.tensor_descriptor import TensorDescriptor

import tunedb
from tests.conftest import INTERPRETED
from tests.decorator.kernels import (
    EVEN,
    accumulate,
    add_even,
    add_in_place,
    add_pair,
    grid_of,
    multiply,
    new_process,
    set_blocks,
    tuned,
)  # fmt: skip
from tunedb import SweepError
from tunedb.tuner import session

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(INTERPRETED, reason="needs a GPU: the interpreter has none")]


def tensors(n: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, device="cuda"), torch.zeros(n, device="cuda")


def captured(x: torch.Tensor, y: torch.Tensor) -> tuple[Any, torch.cuda.CUDAGraph]:
    """A kernel that was called, and a graph of its second call."""
    kernel, graph = tuned(), torch.cuda.CUDAGraph()
    kernel[grid_of(1000)](x, y, 1000)
    with torch.cuda.graph(graph):
        kernel[grid_of(1000)](x, y, 1000)
    return kernel, graph


def test_a_remembered_call_captures_and_replays_on_new_data() -> None:
    x, y = tensors()
    _, graph = captured(x, y)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.testing.assert_close(y, x + 1)


def test_a_miss_in_a_capture_takes_what_is_loaded_or_raises() -> None:
    x, y = tensors()
    kernel = tuned()
    kernel[grid_of(1000)](x, y, 1000)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel[grid_of(984)](x, y, 984)
        with pytest.raises(SweepError, match="call it once before the capture"):
            kernel[grid_of(1000)](x.double(), y.double(), 1000)
    graph.replay()
    torch.testing.assert_close(y[:984], x[:984] + 1)


def test_a_graph_replays_after_its_kernel_is_gone() -> None:
    x, y = tensors()
    kernel, graph = captured(x, y)
    del kernel
    gc.collect()
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.testing.assert_close(y, x + 1)


def test_it_runs_on_the_current_stream() -> None:
    x, y = tensors()
    kernel = tuned()
    kernel[grid_of(1000)](x, y, 1000)
    slow = torch.randn(2048, 2048, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(20):
            slow = slow @ slow
        late = torch.full_like(x, 3.0)
        kernel[grid_of(1000)](late, y, 1000)
    stream.synchronize()
    assert torch.equal(y, torch.full_like(y, 4.0))


def test_profilers_see_a_remembered_call() -> None:
    x, y = tensors()
    kernel = tuned()
    kernel[grid_of(1000)](x, y, 1000)
    seen: list[str] = []

    def hook(metadata: Any) -> None:
        seen.append(metadata.get()["name"])

    knobs.runtime.launch_enter_hook.add(hook)
    try:
        kernel[grid_of(1000)](x, y, 1000)
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    assert seen == ["add_one"]


@pytest.mark.parametrize("n", [1000, 1024])
def test_the_fast_path_serves_every_kind_of_kernel(n: int) -> None:
    x, y = tensors(n)
    for kernel in (tuned(), tuned(triton.heuristics(EVEN)(add_even))):
        for _ in range(3):
            y.zero_()
            kernel[grid_of(n)](x, y, n)
            torch.testing.assert_close(y, x + 1)
        assert len(kernel._launcher.plans._table) == 1
    twice = tuned(add_in_place, restore_value=["x"])
    before = x.clone()
    for _ in range(3):
        twice[grid_of(n)](x, n)
    torch.testing.assert_close(x, before + 3)
    summed = tuned(accumulate, reset_to_zero=["y"])
    y.zero_()
    for _ in range(3):
        summed[grid_of(n)](before, y, n)
    torch.testing.assert_close(y, before * 3)


def test_a_tuple_is_served_by_the_fast_path() -> None:
    x, y = tensors()
    kernel = tuned(add_pair)
    for some in (3, 5, 3):
        kernel[grid_of(1000)]((x, y, some), 1000)
        torch.testing.assert_close(y, x + some)
    assert len(kernel._launcher.plans._table) == 1


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0),
    reason="needs a GPU with tensor memory accesses",
)
def test_descriptors_are_served_by_the_fast_path_and_captured() -> None:
    def called() -> tuple[torch.Tensor, torch.Tensor]:
        a, b = (torch.randn(256, 256, device="cuda").half() for _ in range(2))
        c = torch.zeros_like(a)
        kernel[grid](*(TensorDescriptor.from_tensor(one, [1, 1]) for one in (a, b, c)), 256)
        return c, a @ b.T

    def grid(given: dict[str, Any]) -> tuple[int, int]:
        return 256 // given["BM"], 256 // given["BN"]

    tiles = [triton.Config({"BM": m, "BN": 64, "BK": 32}, pre_hook=set_blocks) for m in (64, 128)]
    kernel, graph = tuned(multiply, configs=tiles, key=["K"]), torch.cuda.CUDAGraph()
    for _ in range(3):
        torch.testing.assert_close(*called(), rtol=1e-2, atol=1e-1)
    assert len(kernel._launcher.plans._table) == 1
    with torch.cuda.graph(graph):
        found, needed = called()
    graph.replay()
    torch.testing.assert_close(found, needed, rtol=1e-2, atol=1e-1)


def test_a_cpu_tensor_is_tritons_error_and_nothing_is_stored() -> None:
    x, y = tensors()
    with pytest.raises(ValueError, match="cpu tensor"):
        tuned()[grid_of(1000)](x.cpu(), y, 1000)
    assert session.active().cache._choices == {}


def test_nothing_keeps_the_callers_tensors_alive() -> None:
    x, y = tensors()
    kernel = tuned()
    for _ in range(2):
        kernel[grid_of(1000)](x, y, 1000)
    gone = [weakref.ref(x), weakref.ref(y)]
    del x, y
    gc.collect()
    assert [one() for one in gone] == [None, None]


@pytest.mark.parametrize("given", [{}, {"restore_value": ["y"]}, {"reset_to_zero": ["y"]}])
def test_inductor_compiles_a_decorated_kernel_without_a_graph_break(given: dict[str, Any]) -> None:
    x, y = tensors()
    tuned(**given)[grid_of(1000)](x, y, 1000)
    new_process()
    kernel = tuned(**given)

    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros_like(x)
        kernel[grid_of(x.numel())](x, y, x.numel())
        return y * 2

    compiled = torch.compile(function, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(x), (x + 1) * 2)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_it_runs_on_the_device_that_is_current() -> None:
    kernel = tuned()
    for index in (0, 1, 0, 1):
        with torch.cuda.device(index):
            x, y = tensors()
            kernel[grid_of(1000)](x, y, 1000)
            torch.testing.assert_close(y, x + 1)


def test_our_clock_times_it_where_the_user_has_none() -> None:
    x, y = tensors(1 << 20)
    kernel = tuned(blocks=(16, 1024))
    kernel[grid_of(1 << 20)](x, y, 1 << 20)
    torch.testing.assert_close(y, x + 1)
    assert kernel.best_config.kwargs == {"BLOCK": 1024}  # 64 times as many programs lose on any GPU
    assert all(0 < times[0] < 10 for times in kernel.configs_timings.values())  # milliseconds


def test_the_examples_are_right() -> None:
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent.parent.parent / "examples"))
    try:
        from example_kernels.matmul import matmul  # type: ignore[import-not-found]
        from example_kernels.softmax import softmax  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    x = torch.randn(300, 1000, device="cuda")
    a, b = (torch.randn(shape, device="cuda").half() for shape in ((200, 300), (300, 400)))
    for _ in range(2):
        torch.testing.assert_close(softmax(x), torch.softmax(x, dim=1))
        torch.testing.assert_close(matmul(a, b), a @ b, rtol=1e-2, atol=1e-1)
    with tunedb.using(mode="off"):
        torch.testing.assert_close(softmax(x), torch.softmax(x, dim=1))
