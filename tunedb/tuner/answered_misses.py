"""What calls missed, and which of it bundles have answered since: a store knows its own sweeps alone."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tunedb.core.device import Device
from tunedb.core.kernel import ODD_FACTS, RegisteredKernel
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, Source, Sweep, SweepStatus, UsageCount, now
from tunedb.store.ranking import winner
from tunedb.tuner.unhashed import fault_of

if TYPE_CHECKING:
    from tunedb.store.sql.usage import ServedCount
    from tunedb.store.stored import Stored

Installed = Callable[[Iterable[str]], Mapping[str, RegisteredKernel]]  # the kernels of these names that can be loaded


def missed_counts(stored: Stored, installed: Installed) -> list[ServedCount]:
    """Return the counts of misses, the most frequent first, each with the bundle that answers its problem now, if any.

    A kernel is loaded only if a bundle has a sweep of a problem that was missed. Of one that can't be loaded, the hash
    is not known: its miss is answered if the bundle's sweep ended after it, or if calls got a stored sweep since.
    """
    if stored.whole is None:
        return []
    misses = stored.whole.usage.served(MISSES)
    bundled = _bundled(stored, {miss.usage.problem.kernel for miss in misses if miss.is_open})
    candidates = [miss.usage for miss in misses if miss.is_open and (miss.usage.problem, miss.usage.device) in bundled]
    if not candidates:
        return misses
    kernels = installed({usage.problem.kernel for usage in candidates})
    served: dict[tuple[Problem, Device], UsageCount] = {}
    for hit in stored.whole.usage.served((Source.STORE, Source.STALE)):
        key = hit.usage.problem, hit.usage.device
        if key not in served or served[key].last_seen < hit.usage.last_seen:
            served[key] = hit.usage
    return [_answered(miss, bundled, kernels, served) if miss.is_open else miss for miss in misses]


def _bundled(stored: Stored, kernels: Iterable[str]) -> dict[tuple[Problem, Device], list[Sweep]]:
    by_problem: dict[tuple[Problem, Device], list[Sweep]] = defaultdict(list)
    for kernel in sorted(kernels):
        for sweep in stored.bundled(kernel=kernel, shipped=True):
            if sweep.status == SweepStatus.TUNED and not sweep.is_quarantined:
                by_problem[sweep.problem, sweep.device].append(sweep)
    return dict(by_problem)


def _answered(
    miss: ServedCount,
    bundled: Mapping[tuple[Problem, Device], list[Sweep]],
    kernels: Mapping[str, RegisteredKernel],
    served: Mapping[tuple[Problem, Device], UsageCount],
) -> ServedCount:
    """Return the miss with the name of the bundle that answers it; unchanged if none does."""
    key = miss.usage.problem, miss.usage.device
    sweeps, kernel = bundled.get(key, []), kernels.get(miss.usage.problem.kernel)
    if kernel is not None:
        best = _winner(sweeps, kernel, *key)
    else:
        since = key in served and served[key].last_seen > miss.usage.last_seen
        newer = [sweep for sweep in sweeps if since or (sweep.finished and sweep.finished > miss.usage.last_seen)]
        best = next(iter(newer), None)
    return miss if best is None else dataclasses.replace(miss, bundle=best.bundle)


def _winner(sweeps: Iterable[Sweep], kernel: RegisteredKernel, problem: Problem, device: Device) -> Sweep | None:
    """Return the sweep that answers calls of the installed kernel; None if none of them is of its code and space."""
    if fault_of(kernel) is not None:
        return None
    same = [sweep for sweep in sweeps if sweep.kernel_hash == kernel.hash]
    if not same:
        return None
    try:
        space = set(kernel.space(problem, device))
    except ODD_FACTS:
        return None
    best = winner(same, None, lambda config: config in space, now())
    return None if best is None else best[0]
