"""Limits for commands: what a sweep's kernel states that it moves, and the share of the device's copy rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunedb import registry
from tunedb.cli.opening import whole_store
from tunedb.core.sweep import Sweep

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


class Limits:
    """The limits of sweeps, by a store's copy rates. A kernel is loaded when a sweep of it is first asked about."""

    def __init__(self, listed: Store | ReadStore | None) -> None:
        store = whole_store(listed)
        self._rates = {} if store is None else store.copy_rates.get()
        self._kernels: dict[str, Any] = {}

    def share(self, sweep: Sweep) -> float | None:
        """Return the share of the device's copy rate that a sweep's winner reaches; None if it is unknown."""
        from tunedb.tuner.copy_rate import limit_us

        if sweep.device.digest not in self._rates or not sweep.time_us:
            return None
        limit = limit_us(self._kernel(sweep), sweep.problem, sweep.device, self._rates)
        return None if limit is None else limit / sweep.time_us

    def record(self, sweep: Sweep) -> dict[str, Any]:
        """Return what the kernel states of the sweep's problem, and what the winner reaches."""
        from tunedb.tuner.copy_rate import bytes_of, operations_of

        kernel = self._kernel(sweep)
        moved, operations = bytes_of(kernel, sweep.problem), operations_of(kernel, sweep.problem)
        time_us = sweep.time_us or None
        return {
            "bytes_moved": moved,
            "operations": operations,
            "gb_per_s": moved and time_us and moved / time_us * 1e-3,
            "tera_operations_per_s": operations and time_us and operations / time_us * 1e-6,
            "copy_share": self.share(sweep),
        }

    def _kernel(self, sweep: Sweep) -> Any:
        name = sweep.problem.kernel
        if name not in self._kernels:
            self._kernels[name] = registry.installed([name]).get(name)
        return self._kernels[name]
