"""The clock: how long one launch takes on a device, with a cold L2 and without the launch's own overhead.

Sweeps are handed a clock, so that tests hand them a fake one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Protocol

import torch

from tunedb.compiled import typed_errors

# The version of the method below. It is part of a sweep's environment: when the way of timing changes, so must this,
# and older sweeps become stale.
METHOD = "events-1"

_SECONDS = 0.05  # of kernel time per call to `sample`
_MOST = 100  # samples per call to `sample`


@dataclass(frozen=True, slots=True)
class Timing:
    """Median, 20th and 80th percentile of the samples, in microseconds."""

    median: float
    p20: float
    p80: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """The timing of at least one sample."""
        middle = median(samples)
        fifths = quantiles(samples, n=5, method="inclusive") if len(samples) > 1 else [middle] * 4
        return cls(middle, min(fifths[0], middle), max(fifths[3], middle), len(samples))  # rounding can cross them


class Clock(Protocol):
    """Times launches on one device."""

    @property
    def method(self) -> str:
        """The version of the method, for the environment of a sweep."""

    @property
    def once(self) -> bool:
        """Whether one sample per config is all that is wanted, as in the interpreter."""

    def sample(self, launch: Callable[[], object], most: int = _MOST) -> list[float]:
        """Microseconds of up to `most` launches. Raises TrialError or StickyDeviceError where one fails."""

    def close(self) -> None:
        """Free what the clock holds."""


class GpuClock:
    """CUDA events around each launch, after a write over twice the L2, which also hides the launch's own cost."""

    method = METHOD
    once = False

    def __init__(self, index: int) -> None:
        size = 2 * getattr(torch.cuda.get_device_properties(index), "L2_cache_size", 64 << 20)
        self._flush = torch.empty(size, dtype=torch.uint8, device=f"cuda:{index}")

    def sample(self, launch: Callable[[], object], most: int = _MOST) -> list[float]:
        """Microseconds of up to `most` launches, fewer where they would take longer than 50 ms in all."""
        with typed_errors():
            launch()  # the first launch of a kernel is not like the others
            first = self._run(launch, min(3, most))
            count = max(0, min(most, int(_SECONDS * 1e6 / max(*first, 1.0))) - len(first))
            return first + self._run(launch, count)

    def _run(self, launch: Callable[[], object], count: int) -> list[float]:
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        for start, end in events:
            self._flush.zero_()
            start.record()
            launch()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e3 for start, end in events]

    def close(self) -> None:
        """Free the buffer."""
        del self._flush


class WallClock:
    """The host's clock around one launch: for the interpreter, whose times mean nothing for a GPU."""

    method = "wall-1"
    once = True

    def sample(self, launch: Callable[[], object], most: int = 1) -> list[float]:  # noqa: ARG002 - one is enough
        """Microseconds of one launch."""
        with typed_errors():
            start = time.perf_counter()
            launch()
            return [(time.perf_counter() - start) * 1e6]

    def close(self) -> None:
        """Nothing is held."""


def clock_for(index: int) -> Clock:
    """The clock of the GPU with that index; for -1, the CPU, the interpreter's."""
    return WallClock() if index < 0 else GpuClock(index)


def method_for(index: int) -> str:
    """The method of `clock_for(index)`, without making one."""
    return WallClock.method if index < 0 else GpuClock.method


@contextlib.contextmanager
def untraced(index: int) -> Iterator[None]:
    """Run a block on that device so that it leaves no trace in the caller: no graph, the device as it was.

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
                with contextlib.suppress(RuntimeError):  # a lost context: the sweep reports it
                    torch.cuda.empty_cache()
