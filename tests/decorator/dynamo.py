"""Torch's tracer without a GPU: it takes Triton kernels, and remembers nothing of another test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table
from torch.utils import _triton

from tests.decorator.stub import StubDriver


@pytest.fixture
def dynamo(stub: StubDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dynamo looks for a GPU before it knows a Triton kernel."""
    monkeypatch.setattr(_triton, "has_triton", lambda **_: True)
    torch._dynamo.reset()
    kernel_side_table.reset_table()
    yield
    torch._dynamo.reset()
    kernel_side_table.reset_table()
