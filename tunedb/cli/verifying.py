"""Verification of a winner in a command's own process, without a display of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb.core.sweep import Sweep
from tunedb.core.verification import Verification
from tunedb.errors import StickyDeviceError

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.tuner.tuner import Tuner


def verify_here(tuner: Tuner, task: TuningTask, sweep: Sweep, rivals: int = 0) -> Verification:
    """Verify a winner in this process."""
    from tunedb.tuner.verification import verify

    try:
        return verify(tuner, task, sweep, Silent(), rivals=rivals)
    except StickyDeviceError as error:
        return Verification("fails", str(error))


class Silent:
    """An observer that shows nothing."""

    def started(self, *event: object) -> None: ...
    def trying(self, *event: object) -> None: ...
    def tried(self, *event: object) -> None: ...
    def finished(self, *event: object) -> None: ...
