"""The result of verifying a stored winner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a stored winner: `holds`, `moved` (its time differs, but it still wins), or a fault.

    The faults are `wrong`, `fails` and `beaten` (by the default, by the margin). `overtaken` is one that a runner-up of
    its sweep beats by the margin. `untried` says nothing about it.
    """

    verdict: str
    reason: str = ""
    time_us: float | None = None  # now
    default_time_us: float | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the sweep should no longer be used."""
        return self.verdict in ("wrong", "fails", "beaten")

    @property
    def still_wins(self) -> bool:
        """Whether the winner was right, and no racer beat it."""
        return self.verdict in ("holds", "moved")
