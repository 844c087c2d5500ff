"""Progress of sweeps on stderr: a bar on a terminal, plain lines elsewhere, nothing with -q."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tunedb._internal.printable import printable
from tunedb.cli.command import is_verbose, log
from tunedb.cli.output import one_line
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial

PAUSE = 5.0  # seconds between two lines about one sweep, if stderr is not a terminal


class Progress:
    """Progress through a list of problems: the observer (`tunedb.sweep.observer.Observer`) of their sweeps."""

    def __init__(self, problems: int) -> None:
        self._problems, self._number, self._name = problems, 0, ""
        self._left, self._printed_at = 0, 0.0
        self._why = ""  # the first config failed
        self._configs: dict[str, Config] = {}  # by the uids of their trials
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
        """Begin the next problem."""
        self._name = name
        self._number += 1

    def done(self, source: str, sweep: Sweep | None) -> None:
        """End the problem; `source` says how it ended."""
        text = f"{self._place()} {source}: {self._name}"
        if sweep is not None and sweep.config is not None:
            text += f" -> {sweep.config} {times_text(sweep.time_us, sweep.default_time_us)}"
        elif sweep is not None:
            text += f". {one_line(self._why)} See: tunedb show {sweep.uid[:12]}"
        self._drop_bar()
        self._say(text)

    def _say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(printable(text))
        else:
            log.info("%s", text)

    def _drop_bar(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Show that the sweep starts: a new bar, or a line."""
        self._left, self._printed_at, self._why = candidates, time.monotonic(), ""
        if self._bars is not None:
            self._drop_bar()  # that of a sweep whose worker died
            self._task = self._bars.add_task(f"{self._place()} {sweep.problem.kernel}", total=candidates, times="")
        else:
            log.info("%s tuning: %s, %d candidates", self._place(), self._name, candidates)

    def trying(self, config: Config) -> None:
        """Show nothing: the trial is shown when it is done."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Show the trial: in the bar, with -v as a line, and off a terminal as a line every few seconds."""
        self._left -= 1
        self._configs[trial.uid] = trial.config
        note = trial.note(self._configs)
        if note and not self._why:
            self._why = f"{trial.status}: {note}"
        if is_verbose():
            how = f"{trial.time_us:.1f} us" if trial.time_us is not None else trial.status
            self._say(f"  {trial.config}: {how}{f' ({note})' if note else ''}")
        elif self._bars is None and time.monotonic() - self._printed_at > PAUSE:
            self._printed_at = time.monotonic()
            self._say(f"{self._place()} {self._left} candidates left, best so far {times_text(best_us, default_us)}")
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=1, times=times_text(best_us, default_us))

    def finished(self, sweep: Sweep) -> None:
        """Show nothing: `done` prints how the sweep ended."""

    def _place(self) -> str:
        return f"[{self._number}/{self._problems}]"


def times_text(best_us: float | None, default_us: float | None) -> str:
    """Return the best time and the default's, as far as they are known."""
    best = "" if best_us is None else f"{best_us:.1f} us"
    return best if default_us is None else f"{best} (default {default_us:.1f} us)"
