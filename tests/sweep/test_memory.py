"""What a sweep holds is freed when it ends: no error that it keeps, or kept, waits for Python's collector with it."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from tests.fakes import FakeKernel, FakeWorkload, Notebook, context, task_of
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config, Problem
from tunedb.sweep.run import run_sweep


class Tensor:
    """Something large that is to go with its workload."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No help from the collector: reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Holding(FakeWorkload):
    """Has a tensor until it is closed; its functions hold it while they run, as a launch does."""

    def __init__(self, kernel: FakeKernel, fails: str) -> None:
        super().__init__(kernel)
        self.tensor, self.fails, self.launches = Tensor(), fails, 0

    def prepare(self, config: Config) -> Resources:
        held = self.tensor
        if self.fails == "prepare" and config["BLOCK"] == 2:
            raise RuntimeError(f"PassManager::run failed on {held}")
        return super().prepare(config)

    def compile(self, config: Config) -> Resources:
        held = self.tensor
        if self.fails == "compile" and config["BLOCK"] == 2:
            raise RuntimeError(f"PassManager::run failed on {held}")
        return super().compile(config)

    def launcher(self, config: Config) -> Callable[[], object]:
        held, launch = self.tensor, super().launcher(config)

        def run() -> object:
            self.launches += config["BLOCK"] == 2
            if self.fails == "race" and config["BLOCK"] == 2 and self.launches > 20:
                raise RuntimeError(f"invalid argument {held}")
            return launch()

        return run

    def close(self) -> None:
        del self.tensor
        super().close()


@pytest.mark.parametrize(
    ("fails", "status"), [("prepare", "compile_error"), ("compile", "compile_error"), ("race", "runtime_error")]
)
def test_a_config_that_fails_leaves_nothing_behind(
    fails: str, status: str, monkeypatch: pytest.MonkeyPatch, uncollected: None
) -> None:
    kernel, held = FakeKernel({1: 50.0, 2: 49.0, 4: 51.0}), []

    def workload(problem: Problem, index: int) -> Holding:
        made = Holding(kernel, fails)
        held.append(weakref.ref(made.tensor))
        return made

    monkeypatch.setattr(kernel, "workload", workload)
    notebook = Notebook()
    done = run_sweep(task_of(kernel), context(notebook))
    assert {trial.config["BLOCK"]: trial.status for trial in done.trials} == {1: "ok", 2: status, 4: "ok"}
    deadline = time.monotonic() + 10
    while held[0]() is not None and time.monotonic() < deadline:  # the thread that compiled it may be about to let go
        time.sleep(0.01)
    assert held[0]() is None
