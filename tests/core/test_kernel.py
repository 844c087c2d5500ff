"""What a kernel can do besides: a method is enough, without subclassing anything."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes import FakeClock, FakeKernel, FakeWorkload
from tunedb.core.device import Device
from tunedb.core.kernel import EstimatesTimes, ExportsModule
from tunedb.core.problem import Config, Problem
from tunedb.runtime.clock import own_clock, parts_of
from tunedb.runtime.compile_pool import HasCompileJob


class Able(FakeKernel):
    """A kernel with all that is optional."""

    clock = FakeClock(0)

    def estimate(self, problem: Problem, config: Config, device: Device) -> float:
        """Any number."""
        return 1.0

    def module_source(self, sweeps: object) -> str:
        """Any text."""
        return ""


class Launch:
    """A launch with parts."""

    def __call__(self) -> None:
        """Both parts."""

    def before(self) -> None:
        """Not timed."""

    def timed(self) -> None:
        """Timed."""


def test_a_method_makes_a_kernel_able() -> None:
    plain, able = FakeKernel({1: 1.0}), Able({1: 1.0})
    assert [isinstance(kernel, EstimatesTimes) for kernel in (plain, able)] == [False, True]
    assert [isinstance(kernel, ExportsModule) for kernel in (plain, able)] == [False, True]
    assert [own_clock(kernel) for kernel in (plain, able)] == [None, Able.clock]


def test_a_workload_without_compile_jobs_compiles_in_this_process() -> None:
    kernel = FakeKernel({1: 1.0})
    assert not isinstance(FakeWorkload(kernel), HasCompileJob)


def test_a_launch_is_timed_as_a_whole_unless_it_has_parts() -> None:
    whole: Callable[[], object] = lambda: None  # noqa: E731 (a launch is a plain function)
    assert parts_of(whole)[1] is whole
    launch = Launch()
    assert parts_of(launch) == (launch.before, launch.timed)
