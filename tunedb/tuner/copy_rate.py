"""What a kernel states that it moves and computes, and what its bytes take at a device's copy rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tunedb._internal.control import let_pass
from tunedb.core.device import Device
from tunedb.core.kernel import StatesBytes, StatesOperations, TunableKernel
from tunedb.core.problem import Problem

if TYPE_CHECKING:
    from tunedb.store.sql.copy_rates import CopyRate


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
