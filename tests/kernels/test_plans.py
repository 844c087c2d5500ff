"""A plan launches by address where it can: shown without a GPU, on a kernel that only takes notes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from tunedb.core.kernel import Resources
from tunedb.kernels.avg_pool import plans
from tunedb.kernels.geometry import Window
from tunedb.runtime.loaded_kernel import LoadedKernel


def plan_for(out: torch.Tensor, launched: list[Any], kernel: object) -> plans.Plan:
    """A plan whose output is to look like `out`, on a GPU."""
    loaded = LoadedKernel(lambda *given: launched.append(given), Resources(), kernel)
    shown = SimpleNamespace(shape=out.shape, stride=out.stride, dtype=out.dtype, is_cuda=True)
    return plans.Plan(loaded, -1, cast(torch.Tensor, shown), out.shape[-1], Window(2, 2))


@pytest.mark.parametrize("strides", [(30, 10, 1), (30, 1, 3)], ids=["rows", "transposed"])
def test_a_plan_hands_addresses_to_a_kernel_and_an_output_like_torchs_to_the_caller(
    strides: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._C._dynamo.guards import _empty_strided_cpu  # type: ignore[attr-defined]

    monkeypatch.setattr(plans, "fast_allocator", lambda: _empty_strided_cpu)
    launched: list[Any] = []
    x, like = torch.randn(2, 3, 20), torch.empty_strided((2, 3, 10), strides, dtype=torch.float16)
    out = plan_for(like, launched, object()).launch(x)
    assert (out.shape, out.stride(), out.dtype) == (like.shape, strides, torch.float16)
    assert launched == [(x.data_ptr(), out.data_ptr())]


def test_without_the_fast_allocator_or_a_compiled_kernel_a_plan_hands_tensors_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launched: list[Any] = []
    x, like = torch.randn(2, 3, 20), torch.empty(2, 3, 10)
    found = [plan_for(like, launched, None).launch(x)]
    monkeypatch.setattr(plans, "fast_allocator", lambda: None)
    found.append(plan_for(like, launched, object()).launch(x))
    for (read, written), out in zip(launched, found, strict=True):
        assert read is x
        assert written is out
        assert out.shape == like.shape


def test_the_allocator_is_tried_before_it_is_trusted() -> None:
    assert (plans.fast_allocator() is None) == (not torch.cuda.is_available())
