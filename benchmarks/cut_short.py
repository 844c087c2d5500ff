"""Sweeps that were cut short by a budget: benchmarks leave them out, and tune their problems again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.store import open_store

if TYPE_CHECKING:
    from tunedb.store import Store

REASON = "cut short: to be tuned again"


def unfinished(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """Return the winners that were cut short and are the only ones of their problem, device and versions."""
    tuned = [sweep for sweep in sweeps if sweep.config is not None]
    whole = {_identity(sweep) for sweep in tuned if sweep.complete}
    return [sweep for sweep in tuned if not sweep.complete and _identity(sweep) not in whole]


def unfinished_in(path: Path) -> list[Sweep]:
    """Return those of a store; an empty list without a store."""
    store = open_store(str(path), create=False)
    if store is None:
        return []
    with store:
        return unfinished(store.iter_sweeps())


def reopen(store: Store, others: Iterable[Sweep] = ()) -> int:
    """Quarantine those of a store, and of others that it does not have; return how many.

    What tunes next finds no answer there, and builds on their trials.
    """
    left = {sweep.uid: sweep for sweep in unfinished([*others, *store.iter_sweeps()]) if not sweep.is_quarantined}
    for sweep in left.values():
        store.marks.put(sweep.uid, Mark.after(sweep.marks, MarkKind.QUARANTINE, REASON))
    return len(left)


def _identity(sweep: Sweep) -> tuple[object, ...]:
    return sweep.problem, sweep.device, sweep.kernel_hash, sweep.environment
