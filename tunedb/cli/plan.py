"""What `tunedb warm --dry-run` prints: which tasks would be tuned, on what device, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunedb.cli.command import log
from tunedb.cli.output import Format, print_rows
from tunedb.cli.tasks import make_tuner
from tunedb.core.task import TuningTask
from tunedb.tuner.former_seconds import FormerSeconds

if TYPE_CHECKING:
    from tunedb.store import Store

_COLUMNS = ("kernel", "problem", "device", "plan", "seconds", "by")


def print_plan(tasks: Sequence[TuningTask], store: Store | None, format: Format, *, force: bool) -> None:
    """Print a row for each task. `plan` is `tune` or `stored`; seconds are unknown if no former sweep says them."""
    former, rows = FormerSeconds(store), []
    tuner = None if force else make_tuner(store, shares=True)
    for task in tasks:
        choice = None if tuner is None else tuner.look_up(task)
        added = [] if tuner is None or choice is None else tuner.lookup.remaining(task, choice)
        is_stored = choice is not None and not added
        expected = former.expected(task, len(added))
        rows.append(
            {
                "kernel": task.kernel.name,
                "problem": task.problem.plain(),
                "device": task.device.name,
                "plan": "stored" if is_stored else "tune",
                "seconds": None if is_stored else expected.seconds,
                "by": None if is_stored else expected.by,
            }
        )
    print_rows(rows, format, _COLUMNS)
    left = [row["seconds"] for row in rows if row["plan"] == "tune"]
    seconds = [value for value in left if isinstance(value, float)]
    unknown = f", and {len(left) - len(seconds)} for an unknown time" if len(seconds) < len(left) else ""
    log.info(
        "To tune: %d of %d, for about %.0f s by former sweeps%s. Nothing was tuned.",
        len(left), len(rows), sum(seconds), unknown,
    )  # fmt: skip
