"""Clocks as the code sees them that does not time: the protocol, the versions, and a kernel's own clock. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from tunedb.core.kernel import TunableKernel

# The versions of the ways of timing in `clock`. They are part of a sweep's environment: when the way of timing changes,
# so must its version, and older sweeps become stale.
METHOD = "events-2"  # of a GPU
INTERPRETER_METHOD = "wall-1"


class Clock(Protocol):
    """A clock that times launches on one device."""

    @property
    def method(self) -> str:
        """The version of the method, for the environment of a sweep."""

    @property
    def once(self) -> bool:
        """Whether the first call of `sample` is final: then nothing is raced, and nothing is compiled meanwhile."""

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        """Return the microseconds of `count` launches, of a kernel that has run before.

        Raises TrialError or StickyDeviceError if one fails.
        """


@runtime_checkable
class HasClock(Protocol):
    """A tunable kernel with a clock of its own, whose method is part of the environment of its sweeps."""

    @property
    def clock(self) -> Clock | None:
        """The clock, or None for `clock.clock_for`."""


def own_clock(kernel: TunableKernel) -> Clock | None:
    """Return the kernel's own clock; None if it is timed by `clock.clock_for`."""
    return kernel.clock if isinstance(kernel, HasClock) else None


def method_for(index: int) -> str:
    """Return the method of `clock.clock_for(index)`."""
    return INTERPRETER_METHOD if index < 0 else METHOD
