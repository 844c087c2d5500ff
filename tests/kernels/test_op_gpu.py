"""What only a GPU has: CUDA graphs, streams, launch hooks, several devices."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests.conftest import INTERPRETED, runs_kernels
from tests.kernels.conftest import ARGUMENTS, close
from tunedb.kernels import avg_pool1d
from tunedb.kernels.avg_pool import plans

pytestmark = runs_kernels
on_gpu = pytest.mark.skipif(INTERPRETED, reason="needs a GPU: the interpreter has none")


@on_gpu
@pytest.mark.gpu
def test_a_remembered_call_captures_and_replays_on_new_data(x: Tensor) -> None:
    static = x.clone()
    avg_pool1d(static, *ARGUMENTS)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))


@on_gpu
@pytest.mark.gpu
def test_a_call_first_made_in_a_capture_captures_torchs_own_and_is_not_remembered(
    records: pytest.LogCaptureFixture,
) -> None:
    static = torch.randn(2, 3, 47, device="cuda")
    plans._warned_of.clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
        avg_pool1d(static, *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))
    assert records.text.count("call it once") == 1
    records.clear()
    records.set_level(logging.INFO, logger="tunedb")
    tunedb.configure(mode="tune")
    avg_pool1d(static, *ARGUMENTS)
    assert "Tuning avg_pool1d" in records.text


@on_gpu
@pytest.mark.gpu
def test_a_graph_replays_after_its_problem_was_tuned_again(x: Tensor) -> None:
    static = x.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
    assert tunedb.warm("avg_pool1d", force=True, shape=x.shape, kernel_size=4, stride=2, padding=1) is not None
    tunedb.configure(budget=60)  # forgets every plan
    avg_pool1d(torch.randn_like(x), *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))


@on_gpu
@pytest.mark.gpu
def test_it_runs_on_the_current_stream(x: Tensor) -> None:
    stream = torch.cuda.Stream()
    slow = torch.randn(2048, 2048, device="cuda")
    with torch.cuda.stream(stream):
        for _ in range(20):
            slow = slow @ slow
        late = torch.full_like(x, 3.0)
        y = avg_pool1d(late, 4, 2)
    stream.synchronize()
    assert torch.equal(y, torch.full_like(y, 3.0))


@on_gpu
@pytest.mark.gpu
def test_tritons_launch_hooks_fire_on_a_remembered_call(x: Tensor) -> None:
    from triton import knobs

    seen: list[str] = []

    def hook(metadata: object) -> None:
        seen.append(metadata.get()["name"])  # type: ignore[attr-defined]  # Triton's lazy dict

    knobs.runtime.launch_enter_hook.add(hook)
    try:
        avg_pool1d(x, *ARGUMENTS)
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    assert seen == ["avg_pool1d_forward_kernel"]


@on_gpu
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_call_runs_on_its_tensors_device_and_not_on_the_current_one(x: Tensor) -> None:
    there = x.to("cuda:1")
    for _ in range(2):
        close(avg_pool1d(there, *ARGUMENTS), F.avg_pool1d(there, *ARGUMENTS))
    assert torch.cuda.current_device() == 0
