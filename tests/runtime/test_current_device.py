"""The current device and its environment, without a GPU."""

from __future__ import annotations

import pytest
import torch

from tests.fakes import FakeKernel
from tests.store.samples import DEVICE
from tunedb.core.device import INTERPRETER, OWN_BENCHMARK, Placement
from tunedb.core.task import TuningTask
from tunedb.runtime.clock import WallClock
from tunedb.runtime.current_device import current_index, environment_of, placement_of


def test_the_interpreter_is_the_current_device_if_triton_was_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert current_index() == -1
    assert placement_of(-1) == Placement(INTERPRETER, -1)


def test_there_is_no_current_device_without_a_gpu_and_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert current_index() is None


def test_the_environment_has_the_method_of_the_clock_that_times_the_kernel() -> None:
    kernel = FakeKernel({1: 1.0})
    task = TuningTask(kernel, kernel.problem(), placement_of(-1))
    environment = environment_of(task)
    assert environment is not None
    assert (environment.method, environment.has_own_benchmark) == (WallClock.method, False)

    class Bench(WallClock):
        method = OWN_BENCHMARK

    kernel.clock = Bench()  # type: ignore[attr-defined]
    environment = environment_of(task)
    assert environment is not None
    assert environment.has_own_benchmark


def test_a_device_that_this_process_does_not_have_has_no_environment() -> None:
    kernel = FakeKernel({1: 1.0})
    assert environment_of(TuningTask(kernel, kernel.problem(), Placement(DEVICE, None))) is None
