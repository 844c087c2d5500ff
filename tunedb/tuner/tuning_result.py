"""Outcomes of tuning one task: an answer that was there, a sweep, or neither."""

from __future__ import annotations

from dataclasses import dataclass

from tunedb.core.sweep import Sweep, SweepStatus
from tunedb.core.task import Choice


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome if nothing was swept and this choice serves: another thread's, another process's, or the store's."""

    choice: Choice


@dataclass(frozen=True, slots=True)
class Swept:
    """The outcome of a sweep. `choice` is what serves after it; None if the sweep produced no config."""

    sweep: Sweep
    choice: Choice | None

    @property
    def has_failed(self) -> bool:
        """Whether every config failed."""
        return self.sweep.status == SweepStatus.FAILED


@dataclass(frozen=True, slots=True)
class Skipped:
    """The outcome if nothing was swept and nothing is stored that could serve.

    `is_claimed` says that another process has claimed the task, so that looking again later may find its result.
    """

    reason: str
    is_claimed: bool = False

    choice = None


TuningResult = Answered | Swept | Skipped
