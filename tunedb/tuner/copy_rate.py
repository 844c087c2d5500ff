"""Copy rates: measured once a device by `tunedb warm`, and what a kernel's bytes take at that rate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tunedb._internal.control import let_pass
from tunedb.core.device import Device
from tunedb.core.kernel import StatesBytes, StatesOperations, TunableKernel
from tunedb.core.problem import Problem
from tunedb.core.task import TuningTask

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.copy_rates import CopyRate

_log = logging.getLogger("tunedb")


def measure_copy_rates(
    store: Store, tasks: Iterable[TuningTask], measure: Callable[[int], float] | None = None
) -> list[Device]:
    """Measure the GPUs of these tasks that have no rate in the store yet; return those that have one now.

    A failure is logged: what was tuned is worth more than what it is compared with.
    """
    devices = {task.device: task.index for task in tasks if task.index is not None and task.index >= 0}
    measured = []
    try:
        from tunedb.store.sql.copy_rates import CopyRate

        known = store.copy_rates.get() if devices else {}
        if set(known).issuperset(device.digest for device in devices):
            return []
        if measure is None:  # loads torch, which a report does without
            from tunedb.runtime.copying import measured_rate

            measure = measured_rate
        for device, index in devices.items():
            if device.digest not in known:
                store.copy_rates.put(device, CopyRate(measure(index)))
                measured.append(device)
    except Exception as error:  # torch, the driver and the store each raise errors of their own
        let_pass(error)
        _log.warning("The copy rate of a device was not measured: %s", str(error))
    return measured


def limit_us(
    kernel: TunableKernel | None, problem: Problem, device: Device, rates: Mapping[str, CopyRate]
) -> float | None:
    """Return the microseconds of copying what the problem moves; None if kernel or device do not say."""
    rate = rates.get(device.digest)
    moved = bytes_of(kernel, problem)
    return None if rate is None or not moved else moved / rate.bytes_per_s * 1e6


def bytes_of(kernel: TunableKernel | None, problem: Problem) -> int | None:
    """Return the bytes that a kernel states for a problem; None if it states none, or fails at it."""
    return _stated(kernel.bytes_moved, problem) if isinstance(kernel, StatesBytes) else None


def operations_of(kernel: TunableKernel | None, problem: Problem) -> int | None:
    """Return the operations that a kernel states for a problem; None if it states none, or fails at it."""
    return _stated(kernel.operations, problem) if isinstance(kernel, StatesOperations) else None


def _stated(count: Callable[[Problem], int | None], problem: Problem) -> int | None:
    try:
        return count(problem)
    except Exception as error:  # the code of another package, for a problem that an older version of it stored
        let_pass(error)
        return None
