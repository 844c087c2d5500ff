"""What kernels state of a problem, and what its bytes take at a device's copy rate."""

from __future__ import annotations

import dataclasses

import pytest

from tests.fakes import FakeKernel
from tests.store.samples import DEVICE
from tunedb.core.problem import Problem
from tunedb.store.sql.copy_rates import CopyRate
from tunedb.tuner.copy_rate import bytes_of, limit_us, operations_of

OTHER = dataclasses.replace(DEVICE, name="NVIDIA H100")


class Stating(FakeKernel):
    """A kernel that states what it does."""

    def bytes_moved(self, problem: Problem) -> int | None:
        """A megabyte for each n; nothing for 0, and an error for a problem of another version."""
        return int(problem["n"]) * 1_000_000 or None

    def operations(self, problem: Problem) -> int | None:
        """Ten for each n."""
        return 10 * int(problem["n"])


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
