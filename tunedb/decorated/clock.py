"""The clock of a kernel that was decorated with a benchmark function of its own (`do_bench=`, `warmup=`, `rep=`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunedb.compiled import typed_errors
from tunedb.errors import StickyDeviceError

METHOD = "do_bench"  # in the environment of a sweep: times of ours and of another clock are not to be compared
_QUANTILES = (0.5, 0.2, 0.8)


class BenchClock:
    """Asks the function that triton.autotune would ask: `do_bench(launch, quantiles=(0.5, 0.2, 0.8))`, milliseconds."""

    method = METHOD
    once = True  # what it returns is its last word: no race

    def __init__(self, do_bench: Callable[..., Any]) -> None:
        self._do_bench = do_bench
        self.fault: Exception | None = None  # the function's own: no config is to blame

    def sample(self, launch: Callable[[], object], most: int = 1) -> list[float]:  # noqa: ARG002 - it decides itself
        """Microseconds: median, p20 and p80, or what there is of these."""
        raised: list[Exception] = []

        def watched() -> object:
            try:
                return launch()
            except Exception as error:
                raised.append(error)
                raise

        with typed_errors():
            try:
                found = self._do_bench(watched, quantiles=_QUANTILES)
            except Exception as error:
                if error in raised:
                    raise
                self.fault = error
                raise StickyDeviceError(f"do_bench: {type(error).__name__}: {error}") from None
        times = list(found) if isinstance(found, list | tuple) else [found]
        return [float(one) * 1e3 for one in times]

    def close(self) -> None:
        """Nothing is held."""
