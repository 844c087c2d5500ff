"""How a sweep goes on, on stderr: a bar on a terminal, plain lines elsewhere, nothing with -q."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tunedb.cli.common import log
from tunedb.problem import Config
from tunedb.records import Sweep, Trial


class Progress:
    """Told of each problem and, as a `tunedb.observer.Observer`, of its sweep."""

    def __init__(self, problems: int) -> None:
        self.outcome: Sweep | None = None
        self._problems, self._number, self._name = problems, 0, ""
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            console = Console(stderr=True, markup=False, emoji=False, highlight=False)
            self._bars = Bars(
                *columns, TextColumn("{task.fields[times]}"), TimeElapsedColumn(), console=console, transient=True
            )

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def next(self, name: str) -> None:
        """The next problem begins."""
        self.outcome, self._name = None, name
        self._number += 1

    def done(self, source: str, sweep: Sweep | None) -> None:
        """The problem is done; `source` says how."""
        text = f"{self._place()} {source}: {self._name}"
        if sweep is not None and sweep.config is not None:
            text += f" -> {sweep.config} {_times(sweep.time_us, sweep.default_time_us)}"
        if self._bars is not None:
            if self._task is not None:
                self._bars.remove_task(self._task)
                self._task = None
            self._bars.console.print(text)
        else:
            log.info("%s", text)

    def started(self, sweep: Sweep, candidates: int) -> None:
        """See `tunedb.observer.Observer`."""
        if self._bars is not None:
            self._task = self._bars.add_task(f"{self._place()} {sweep.problem.kernel}", total=candidates, times="")
        else:
            log.info("%s tuning: %s, %d candidates", self._place(), self._name, candidates)

    def trying(self, config: Config) -> None:
        """See `tunedb.observer.Observer`."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:  # noqa: ARG002
        """See `tunedb.observer.Observer`."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=1, times=_times(best_us, default_us))

    def finished(self, sweep: Sweep) -> None:
        """See `tunedb.observer.Observer`."""
        self.outcome = sweep

    def _place(self) -> str:
        return f"[{self._number}/{self._problems}]"


def _times(best_us: float | None, default_us: float | None) -> str:
    best = "" if best_us is None else f"{best_us:.1f} us"
    return best if default_us is None else f"{best} (default {default_us:.1f} us)"
