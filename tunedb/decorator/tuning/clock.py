"""The clock of a kernel that was decorated with a benchmark function of its own (`do_bench=`, `warmup=`, `rep=`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime.errors import OutOfResources, PTXASError

from tunedb.core.device import OWN_BENCHMARK
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.errors import CallerError, TrialError
from tunedb.runtime.failures import typed_errors

_QUANTILES = (0.5, 0.2, 0.8)
_MIN_US = 1e-3  # stands for a time of zero: configs are compared by ratios
_CONFIG_ERRORS = (OutOfResources, PTXASError, CompileTimeAssertionFailure)  # a config's fault, wherever they are raised


class BenchClock:
    """A clock that asks the user's function: `do_bench(launch, quantiles=(0.5, 0.2, 0.8))`, in milliseconds.

    An error of that function itself is a CallerError: no config is to blame.
    """

    method = OWN_BENCHMARK  # part of a sweep's environment: times of two clocks can't be compared
    once = True  # called once for each config, and nothing compiles meanwhile: the function might not tolerate it

    def __init__(self, do_bench: Callable[..., object]) -> None:
        self._benchmark = do_bench

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:  # noqa: ARG002 - the function decides itself
        """Return microseconds, the median first: six samples with those quantiles, or the times that it returned."""
        raised: list[Exception] = []

        def watched_launch() -> object:
            try:
                return launch()
            except Exception as error:
                raised.append(error)
                raise

        with typed_errors():
            try:
                with caller_errors(always=True):
                    times = _milliseconds(self._benchmark(watched_launch, quantiles=_QUANTILES))
            except CallerError as error:
                if error.error in raised or isinstance(error.error, _CONFIG_ERRORS):
                    raise error.error from None
                raise
            finally:
                raised.clear()  # an error's frames hold this list
        if not all(map(math.isfinite, times)):  # some functions report a failed config this way
            raise TrialError("runtime_error", f"do_bench: returned {times}")
        repeats = 2 if len(times) == len(_QUANTILES) else 1
        return [max(time * 1e3, _MIN_US) for time in times for _ in range(repeats)]


def _milliseconds(result: object) -> list[float]:
    times: list[Any] = list(result) if isinstance(result, list | tuple) else [result]
    if not times or any(isinstance(time, str) for time in times):
        raise TypeError(f"do_bench: expected milliseconds, a number or one for each quantile, got {result!r}.")
    try:
        return [float(time) for time in times]
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"do_bench: expected milliseconds, got {result!r} ({error}).") from error


def clock_of(do_bench: Callable[..., object] | None) -> BenchClock | None:
    """Return the clock that asks this function; None if there is none, so that tunedb's own clock is used."""
    return None if do_bench is None else BenchClock(do_bench)
