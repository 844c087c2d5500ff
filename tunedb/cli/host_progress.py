"""Progress of tuning many problems in one or several places: one display for all, or plain lines off a terminal.

The display has how many problems are done and the time left, and a line for the current sweep of each place below it;
the log runs above.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tunedb._internal.counted import counted
from tunedb._internal.printable import printable
from tunedb.cli.cells import one_line
from tunedb.cli.command import is_verbose, log
from tunedb.cli.store_words import store_option
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial
from tunedb.core.task import TaskKey, TuningTask
from tunedb.fleet.slots import Slot
from tunedb.fleet.task_run import STORED, Outcome

PAUSE = 5.0  # seconds between two lines about one sweep, if stderr is not a terminal


class TimeLeft:
    """An estimate of the time that is left, from expected seconds and those that the tasks before really took."""

    def __init__(self, seconds: Mapping[TaskKey, float], slots: int) -> None:
        self._left = dict(seconds)
        self._slots = max(1, slots)
        self._expected = self._took = 0.0

    def done(self, key: TaskKey, took: float | None) -> None:
        """Note that a task is done, and how many seconds its sweep took; None if it was stored already."""
        expected = self._left.pop(key, 0.0)
        if took is not None:
            self._expected += expected
            self._took += took

    def text(self) -> str:
        """Return the estimate in words; empty after the last task. Before the first sweep it is what was expected."""
        pace = self._took / self._expected if self._expected else 1.0
        seconds = sum(self._left.values()) / self._slots * pace
        if not seconds:
            return ""
        return f"about {math.ceil(seconds)} s left" if seconds < 100 else f"about {math.ceil(seconds / 60)} min left"


class HostProgress:
    """Progress of a run on several slots: the observer (`tunedb.fleet.task_run.HostObserver`) of that run."""

    def __init__(
        self,
        slots: Sequence[Slot],
        seconds: Mapping[TaskKey, float],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        title: str | None = None,
        at_a_time: int | None = None,
    ) -> None:
        self._count, self._number = len(seconds), 0
        self._left = TimeLeft(seconds, len(slots) if at_a_time is None else at_a_time)
        self._monotonic = monotonic
        self._tasks: dict[str, tuple[TuningTask, float]] = {}  # by slot: what it does, and since when
        self._why: dict[str, str] = {}  # by slot: the first config failed
        self._configs: dict[str, Config] = {}  # by the uids of their trials
        self._candidates: dict[str, int] = {}  # by slot: those left
        self._printed_at: dict[str, float] = {}  # by slot: its last line
        self._passed_over: set[TaskKey] = set()
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}
        if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            console = Console(stderr=True, markup=False, emoji=False, highlight=False)
            self._bars = Bars(
                *columns, TextColumn("{task.fields[note]}", markup=False), TimeElapsedColumn(), console=console,
                transient=True,
            )  # fmt: skip
            workers = f"{len(slots)} workers" if len(slots) > 1 else "problems"
            self._whole = self._bars.add_task(title or workers, total=self._count, note=self._left.text())
            for slot in slots:
                self._rows[slot.name] = self._bars.add_task(slot.name, total=None, note="starts")

    def __enter__(self) -> HostProgress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def begins(self, slot: Slot, task: TuningTask) -> None:
        """Show what the slot does now."""
        self._tasks[slot.name] = task, self._monotonic()
        self._why.pop(slot.name, None)
        self._row(slot, f"{slot.name} {_name(task)}".strip(), note="")

    def started(self, slot: Slot, candidates: int) -> None:
        """Show that a sweep starts."""
        self._candidates[slot.name], self._printed_at[slot.name] = candidates, self._monotonic()
        self._why.pop(slot.name, None)
        if self._bars is not None:
            self._bars.reset(self._rows[slot.name], total=candidates, note="")
        else:
            task = self._tasks[slot.name][0]
            log.info("%s tuning: %s, %s", self._place(slot), _name(task), counted(candidates, "candidate"))

    def tried(self, slot: Slot, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Show the trial: in the slot's bar, with -v as a line, and off a terminal as a line every few seconds."""
        self._configs[trial.uid] = trial.config
        self._candidates[slot.name] = self._candidates.get(slot.name, 0) - 1
        note, times = trial.note(self._configs), times_text(best_us, default_us)
        if note:
            self._why.setdefault(slot.name, f"{trial.status}: {note}")
        if is_verbose():
            how = f"{trial.time_us:.1f} us" if trial.time_us is not None else trial.status
            self._say(f"  {f'{slot.name} {trial.config}'.strip()}: {how}{f' ({note})' if note else ''}")
        elif self._bars is None and self._monotonic() - self._printed_at.get(slot.name, 0.0) > PAUSE:
            self._printed_at[slot.name] = self._monotonic()
            left = counted(self._candidates[slot.name], "candidate")
            self._say(f"{self._place(slot)} {left} left, best so far {times}")
        if self._bars is not None:
            self._bars.update(self._rows[slot.name], advance=1, note=times)

    def passed_over(self, slot: Slot, task: TuningTask) -> None:
        """Show that the task is tuned elsewhere; once, not at each look."""
        self._row(slot, slot.name, note="waits for what is tuned elsewhere")
        if task.key not in self._passed_over:
            self._passed_over.add(task.key)
            place = f"{slot.name} " if slot.name else ""
            self._say(f"{place}passes over {_name(task)} until the end: another process tunes it")

    def done(self, slot: Slot, outcome: Outcome) -> None:
        """Show how a task ended, how many are done, and the time left."""
        task = outcome.task
        begun = self._tasks.get(slot.name, (task, self._monotonic()))[1]
        why = outcome.why or self._why.get(slot.name, "")
        self.end(slot.name, task, outcome.word, outcome.sweep, self._monotonic() - begun, why)
        self._row(slot, slot.name, note="")

    def end(self, where: str, task: TuningTask, word: str, sweep: Sweep | None, took: float, why: str) -> None:
        """Show the end of a task: its slot, its seconds, and the reason if it has no config."""
        self._number += 1
        self._left.done(task.key, None if word == STORED else took)
        text = f"[{self._number}/{self._count}] {f'{where} ' if where else ''}{word}: {_name(task)}"
        if sweep is not None and sweep.config is not None:
            text += f" -> {sweep.config} {times_text(sweep.time_us, sweep.default_time_us)}"
        elif why or sweep is not None:
            text += f". {one_line(why)}{f' See: tunedb show {sweep.uid[:12]}{store_option()}' if sweep else ''}"
        left = self._left.text()
        if self._bars is not None:
            self._bars.update(self._whole, advance=1, note=left)
            self._say(text)
        else:
            self._say(f"{text}{f', {left}' if left else ''}")

    def _place(self, slot: Slot) -> str:
        """Return what a line about a slot begins with: its name, or the problem's number if there is one place."""
        return slot.name or f"[{self._number + 1}/{self._count}]"

    def _row(self, slot: Slot, text: str, note: str) -> None:
        if self._bars is not None:
            self._bars.reset(self._rows[slot.name], total=None, description=text, note=note)

    def _say(self, text: str) -> None:
        if self._bars is not None:
            self._bars.console.print(printable(text))
        else:
            log.info("%s", text)


def times_text(best_us: float | None, default_us: float | None) -> str:
    """Return the best time and the default's, as far as they are known."""
    best = "" if best_us is None else f"{best_us:.1f} us"
    return best if default_us is None else f"{best} (default {default_us:.1f} us)"


def _name(task: TuningTask) -> str:
    return f"{task.kernel.name} ({task.problem})"
