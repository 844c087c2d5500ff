"""Counts what calls were served with, in memory; written to the store in batches, off the launch path."""

from __future__ import annotations

import dataclasses
import os
import threading
import weakref
from collections.abc import Callable

from tunedb.core.sweep import UsageCount, now
from tunedb.tuner.choice_cache import Choice, TuningTask

MOST = 1000  # cases that are counted between two writes; those beyond that are not
EVERY = 60.0  # seconds between two writes

_ledgers: weakref.WeakSet[UsageCounter] = weakref.WeakSet()


class UsageCounter:
    """The counts of one process since they were last written by `write`."""

    def __init__(self, write: Callable[[list[UsageCount]], None]) -> None:
        self._write = write
        self._counts: dict[tuple[str, ...], UsageCount] = {}
        self._timer: threading.Timer | None = None
        self._renew()
        _ledgers.add(self)

    def count(self, case: TuningTask, choice: Choice) -> None:
        """Count one first use of a case in this process: what it was served with."""
        with self._lock:
            key = (*case.key, choice.source)
            known = self._counts.get(key)
            if known is not None:
                self._counts[key] = dataclasses.replace(known, count=known.count + 1, last_seen=now())
            elif len(self._counts) < MOST:
                moment = now()
                self._counts[key] = UsageCount(case.problem, case.device, choice.source, 1, moment, moment)
            if self._timer is None:
                self._timer = threading.Timer(EVERY, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write the counts, and start from nothing."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            counts, self._counts = list(self._counts.values()), {}
        if counts:
            self._write(counts)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._counts = {}
        self._timer = None


def _renew_all() -> None:
    for ledger in list(_ledgers):
        ledger._renew()  # in a forked child: the parent writes its own counts, and its timer is not here


os.register_at_fork(after_in_child=_renew_all)
