"""Copy rates: measured once a device, stored with it, and what a problem's bytes take at that rate."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from tests.fakes import FakeKernel
from tests.store.samples import DEVICE
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.problem import Problem
from tunedb.core.task import TuningTask
from tunedb.store import open_store
from tunedb.store.sql.copy_rates import CopyRate
from tunedb.tuner.copy_rate import bytes_of, limit_us, measure_copy_rates, operations_of

OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100")


class Stating(FakeKernel):
    """A kernel that states what it does."""

    def bytes_moved(self, problem: Problem) -> int | None:
        """A megabyte for each n; nothing for 0, and an error for a problem of another version."""
        return int(problem["n"]) * 1_000_000 or None

    def operations(self, problem: Problem) -> int | None:
        """Ten for each n."""
        return 10 * int(problem["n"])


def task(device: Device, index: int | None) -> TuningTask:
    """A task of a fake kernel."""
    kernel = FakeKernel({1: 1.0})
    return TuningTask(kernel, kernel.problem(), Placement(device, index))


def test_each_gpu_is_measured_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def measure(index: int) -> float:
        asked.append(index)
        return 1e12 * (1 + index)

    tasks = [task(DEVICE, 0), task(OTHER, 1), task(DEVICE, 0), task(INTERPRETER, -1), task(INTERPRETER, None)]
    with open_store(str(tmp_path / "t.db")) as store:
        assert measure_copy_rates(store, tasks, measure) == [DEVICE, OTHER]
        assert measure_copy_rates(store, tasks, measure) == []
    assert asked == [0, 1]
    with open_store(str(tmp_path / "t.db")) as store:
        rates = store.copy_rates.get()
        assert {digest: rate.bytes_per_s for digest, rate in rates.items()} == {DEVICE.digest: 1e12, OTHER.digest: 2e12}


def test_a_failure_to_measure_is_logged_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(index: int) -> float:
        raise RuntimeError("12 MiB are free")

    with open_store(str(tmp_path / "t.db")) as store, caplog.at_level(logging.WARNING, "tunedb"):
        assert measure_copy_rates(store, [task(DEVICE, 0)], fail) == []
        assert store.copy_rates.get() == {}
    assert "12 MiB are free" in caplog.text


def test_a_limit_is_the_time_of_copying_what_is_moved() -> None:
    kernel, rates = Stating({1: 1.0}), {DEVICE.digest: CopyRate(2e12)}
    assert limit_us(kernel, Problem.of("fake", n=4), DEVICE, rates) == pytest.approx(2.0)
    assert limit_us(kernel, Problem.of("fake", n=0), DEVICE, rates) is None
    assert limit_us(kernel, Problem.of("fake", n=4), OTHER, rates) is None
    assert limit_us(FakeKernel({1: 1.0}), Problem.of("fake", n=4), DEVICE, rates) is None
    assert limit_us(None, Problem.of("fake", n=4), DEVICE, rates) is None


def test_a_kernel_that_does_not_know_a_stored_problem_states_nothing() -> None:
    assert bytes_of(Stating({1: 1.0}), Problem.of("fake", other=1)) is None
    assert operations_of(Stating({1: 1.0}), Problem.of("fake", n=2)) == 20
