"""Usage counts: how many tasks each source served. Kept in memory, and written to the store in batches."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from tunedb._internal import forks
from tunedb._internal.timer import RearmingTimer
from tunedb.core.sweep import UsageCount, now
from tunedb.core.task import Choice, TuningTask

MAX_COUNTS = 1000  # tasks by source that are counted between two writes; more are not counted
WRITE_INTERVAL_S = 60.0


class UsageCounter:
    """The counts of one process since `write` last took them."""

    def __init__(self, write: Callable[[list[UsageCount]], None]) -> None:
        self._write = write
        self.renew()
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Start from nothing, also in a forked child: the parent writes its own counts."""
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], UsageCount] = {}
        self._timer = RearmingTimer(WRITE_INTERVAL_S, self._write_later)

    def count(self, task: TuningTask, choice: Choice) -> None:
        """Count the first use of a task in this process under the source that served it."""
        with self._lock:
            key, moment = (*task.key, choice.source), now()
            before = self._counts.get(key)
            if before is not None:
                self._counts[key] = dataclasses.replace(before, count=before.count + 1, last_seen=moment)
            elif len(self._counts) < MAX_COUNTS:
                self._counts[key] = UsageCount(task.problem, task.device, choice.source, 1, moment, moment)
        self._timer.arm()

    def flush(self) -> None:
        """Write the counts, and start from nothing."""
        self._timer.cancel()
        with self._lock:
            counts, self._counts = list(self._counts.values()), {}
        if counts:
            self._write(counts)

    def _write_later(self) -> bool:
        self.flush()
        return False  # the next count arms the timer
