"""Clocks: how long one launch takes on a device, with a cold L2 and without the launch's own overhead.

Sweeps are handed a clock, so that tests hand them a fake one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Protocol, runtime_checkable

import torch

from tunedb._internal.control import suppress
from tunedb._internal.switch_interval import short_switch_interval
from tunedb.runtime.clock_method import INTERPRETER_METHOD, METHOD
from tunedb.runtime.clock_method import Clock as Clock
from tunedb.runtime.clock_method import HasClock as HasClock
from tunedb.runtime.clock_method import method_for as method_for
from tunedb.runtime.clock_method import own_clock as own_clock
from tunedb.runtime.compat_torch import spin
from tunedb.runtime.failures import typed_errors

_TIMING_S = 0.05  # of kernel time per call to `timing`. Chosen, as the next one
_MAX_SAMPLES = 100  # per call to `timing`
_LEADS_US = (0, 200, 2000, 20000)  # for which the GPU spins first, in each try at samples that came late. Chosen
_CALLS_PER_SHORTER_LEAD = 10  # every so many calls, a host that came late is tried with a shorter lead
_CYCLES_PER_US = 2000  # of a GPU's clock, or fewer


@dataclass(frozen=True, slots=True)
class Timing:
    """Median, 20th and 80th percentile of the samples, in microseconds."""

    median: float
    p20: float
    p80: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """Return the median and quantiles of at least one sample."""
        middle = median(samples)
        fifths = quantiles(samples, n=5, method="inclusive") if len(samples) > 1 else [middle] * 4
        return cls(middle, min(fifths[0], middle), max(fifths[3], middle), len(samples))  # rounding can cross them


class GpuClock:
    """A clock of CUDA events around each launch, after a write to twice the L2, which also hides the host's overhead.

    A launch that the host submits late, because another thread held it up, is detected and not counted: its first event
    has passed by then. The buffer that is written exists only while samples are taken, so that a check between two
    calls can use the same memory.
    """

    method = METHOD
    once = False

    def __init__(self, index: int) -> None:
        self._index = index
        self._size = 2 * getattr(torch.cuda.get_device_properties(index), "L2_cache_size", 64 << 20)
        self._lead = 0  # the index of the lead that was enough
        self._calls = 0
        self._buffer()  # raises now if there is too little memory

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        """Return the microseconds of `count` launches, each on a cold L2.

        If the launch has `before` and `timed`, both are called and only the time of `timed` counts.
        """
        with typed_errors(), short_switch_interval:
            taken: list[float] = []
            late: list[float] = []
            self._calls += 1
            for at in range(max(self._lead - (self._calls % _CALLS_PER_SHORTER_LEAD == 0), 0), len(_LEADS_US)):
                self._run(launch, count - len(taken), _LEADS_US[at], taken, late)
                if len(taken) == count:
                    self._lead = at
                    return taken
            self._lead = len(_LEADS_US) - 1
            # The host is always late: that makes a launch look slower, never faster, so that the least late is nearest.
            return taken + sorted(late)[: count - len(taken)]

    def _buffer(self) -> torch.Tensor:
        return torch.empty(self._size, dtype=torch.uint8, device=f"cuda:{self._index}")

    def _run(self, launch: Callable[[], object], count: int, lead: int, taken: list[float], late: list[float]) -> None:
        flush = self._buffer()
        before, timed = parts_of(launch)
        samples = []
        for _ in range(count):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            if lead:
                spin(lead * _CYCLES_PER_US)  # the host gets ahead of the GPU
            before()
            flush.zero_()
            start.record()
            timed()
            end.record()
            samples.append((start, end, start.query()))
        torch.cuda.synchronize()
        for start, end, was_late in samples:
            (late if was_late else taken).append(start.elapsed_time(end) * 1e3)


@runtime_checkable
class LaunchInParts(Protocol):
    """A launch of which only a part is timed."""

    @property
    def before(self) -> Callable[[], object]:
        """The part that is called first, and not timed."""

    @property
    def timed(self) -> Callable[[], object]:
        """The part that is timed."""


def parts_of(launch: Callable[[], object]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what is called before a launch is timed, and what is timed: all of it, unless it has parts."""
    return (launch.before, launch.timed) if isinstance(launch, LaunchInParts) else (_nothing, launch)


def _nothing() -> None:
    """Do nothing: most launches need nothing before them."""


class WallClock:
    """A clock of the host's time around one launch, for the interpreter, whose times mean nothing for a GPU."""

    method = INTERPRETER_METHOD
    once = True

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:  # noqa: ARG002 - one is enough
        """Return the microseconds of one launch."""
        with typed_errors():
            start = time.perf_counter()
            launch()
            return [(time.perf_counter() - start) * 1e6]


def clock_for(index: int) -> Clock:
    """Return the clock of the GPU with that index, or the interpreter's for -1, the CPU."""
    return WallClock() if index < 0 else GpuClock(index)


def timing(clock: Clock, launch: Callable[[], object]) -> Timing:
    """Return the timing of up to 100 launches on an idle device, of fewer if they would take longer than 50 ms in all.

    Raises what `Clock.sample` raises.
    """
    if clock.once:
        return Timing.of(clock.sample(launch, 1))
    clock.sample(launch, 1)  # the first launch of a kernel is slower
    first = clock.sample(launch, 3)
    count = min(_MAX_SAMPLES - 3, int(_TIMING_S * 1e6 / max(*first, 1.0)) - 3)
    return Timing.of(first + (clock.sample(launch, count) if count > 0 else []))


@contextlib.contextmanager
def untraced(index: int) -> Iterator[None]:
    """Run a block on that device without effects on the caller: no autograd graph, the same current device afterwards.

    Memory that torch cached for the block goes back to the driver at its end.
    """
    with torch.no_grad():
        if index < 0:
            yield
            return
        with torch.cuda.device(index):
            try:
                yield
            finally:
                with suppress(RuntimeError):  # a lost context: the sweep reports it
                    torch.cuda.empty_cache()
