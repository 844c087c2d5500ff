"""Nothing of a call of average pooling outlives it: its tensors are freed by reference counts alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import tunedb
from tests.conftest import DEVICE, runs_kernels
from tunedb.kernels import avg_pool1d
from tunedb.tuner import session

pytestmark = runs_kernels


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No help from the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def forward(x: torch.Tensor) -> torch.Tensor:
    return avg_pool1d(x, 2)


def backward(x: torch.Tensor) -> torch.Tensor:
    x.requires_grad_()
    pooled = avg_pool1d(x, 2)
    pooled.sum().backward()
    assert x.grad is not None
    return pooled


def twice(x: torch.Tensor) -> torch.Tensor:
    x.requires_grad_()
    pooled = avg_pool1d(x, 2)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), x, create_graph=True)
    gradient.sum().backward()
    return pooled


def broken(_: Any, *__: Any, **___: Any) -> Any:
    raise RuntimeError("it fails")


def leaves_nothing(call: Callable[[torch.Tensor], torch.Tensor]) -> str:
    """Make a call, and look whether its tensors are gone; return the class of what it raised."""
    x = torch.ones(1, 2, 8, device=DEVICE)
    gone, raised = [weakref.ref(x)], ""
    try:
        gone.append(weakref.ref(call(x)))
    except Exception as error:
        raised = type(error).__name__
    del x
    assert [reference() for reference in gone] == [None] * len(gone)
    return raised


@pytest.mark.parametrize("call", [forward, backward, twice])
@pytest.mark.parametrize("mode", ["tune", "record", "off", "strict"])
def test_no_call_leaves_anything(call: Callable[[torch.Tensor], torch.Tensor], mode: str) -> None:
    with tunedb.using(mode=mode):  # type: ignore[arg-type]  # one of those
        for number in range(3):
            assert leaves_nothing(call) == ("MissError" if mode == "strict" else ""), number
            if number == 1:
                session.clear_plans()
    if mode == "tune":
        assert leaves_nothing(call) == ""  # the settings have changed: the store answers


@pytest.mark.parametrize("fails", ["tunedb.tuner.tuner.Tuner.choose", "tunedb.store.sql.store.Store.get_sweeps",
                                   "tunedb.store.sql.sqlite_reader.SqliteReader.get_sweeps",
                                   "tunedb.kernels.avg_pool.plans.load", "tunedb.sweep.run.run_sweep"])  # fmt: skip
def test_a_call_in_which_something_of_ours_fails_leaves_nothing(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fails, broken)
    for _ in range(2):
        assert leaves_nothing(backward) == ""


def test_wrong_arguments_leave_nothing() -> None:
    for call in (lambda x: avg_pool1d(x, 0), lambda x: avg_pool1d(x, 2, padding=9), lambda x: avg_pool1d(x, 99)):
        assert leaves_nothing(call) == "RuntimeError"
