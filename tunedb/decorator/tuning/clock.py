"""The clock of a kernel that was decorated with a benchmark function of its own (`do_bench=`, `warmup=`, `rep=`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime.errors import OutOfResources, PTXASError

from tunedb.core.device import OWN_BENCHMARK
from tunedb.decorator.tuning.caller_errors import callers_faults
from tunedb.errors import CallerError, TrialError
from tunedb.runtime.failures import typed_errors

_QUANTILES = (0.5, 0.2, 0.8)
_LEAST = 1e-3  # microseconds, in the place of no time at all: configs are compared by ratios
_OF_A_CONFIG = (OutOfResources, PTXASError, CompileTimeAssertionFailure)  # whoever raises them, as with Triton


class BenchClock:
    """Asks the function that triton.autotune would ask: `do_bench(launch, quantiles=(0.5, 0.2, 0.8))`, milliseconds.

    An error of the function's own is a CallerError: no config is to blame.
    """

    method = OWN_BENCHMARK  # in the environment of a sweep: times of ours and of another clock are not to be compared
    once = True  # what it returns is its last word; and it may not bear that others compile meanwhile, as ours does

    def __init__(self, do_bench: Callable[..., Any]) -> None:
        self._do_bench = do_bench

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:  # noqa: ARG002 - it decides itself
        """Microseconds, the median first: six samples of which those are the quantiles, or what there is of these."""
        raised: list[Exception] = []

        def watched() -> object:
            try:
                return launch()
            except Exception as error:
                raised.append(error)
                raise

        with typed_errors():
            try:
                with callers_faults(always=True):
                    times = _milliseconds(self._do_bench(watched, quantiles=_QUANTILES))
            except CallerError as error:
                if error.error in raised or isinstance(error.error, _OF_A_CONFIG):
                    raise error.error from None
                raise
            finally:
                raised.clear()  # an error's frames hold this list
        if not all(map(math.isfinite, times)):  # as some say that a config failed
            raise TrialError("runtime_error", f"do_bench: found {times}")
        return [max(one * 1e3, _LEAST) for one in times for _ in range(2 if len(times) == len(_QUANTILES) else 1)]


def _milliseconds(found: Any) -> list[float]:
    times = list(found) if isinstance(found, list | tuple) else [found]
    if not times or any(isinstance(one, str) for one in times):
        raise TypeError(f"do_bench: found {found!r}, needed milliseconds: a number, or one for each quantile.")
    try:
        return [float(one) for one in times]
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"do_bench: found {found!r}, needed milliseconds ({error}).") from error


def clock_of(do_bench: Callable[..., Any] | None) -> BenchClock | None:
    """The clock that asks this function; None where there is none, and tunedb's own is used."""
    return None if do_bench is None else BenchClock(do_bench)
