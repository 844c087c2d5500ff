"""A process's memory: its choices, the configs that do not launch in it, and the tasks to look up again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tunedb._internal import forks
from tunedb._internal.bounded import make_room
from tunedb._internal.timer import RearmingTimer
from tunedb.core.problem import Config
from tunedb.core.task import Choice, TaskKey, TuningTask

ASK_AGAIN_AFTER_S = 60.0  # the store is asked again for a task that got a default, off the path of a call
MAX_ASKED = 500  # tasks in that time, about a millisecond each: a hundredth of a core. Others follow in later rounds
MAX_CHOICES = 8192  # about 3 KiB each; beyond that the older half is forgotten, and the store asked for it again


class ChoiceCache:
    """Choices by task, and the configs that do not launch in this process.

    A weak choice is due for another look-up after a while: `on_due` then runs on a timer's thread. `on_forgotten` runs
    if a weak choice is dropped to make room: it may be in use, and nothing would look for a better one any more.
    """

    def __init__(
        self,
        on_due: Callable[[], object],
        monotonic: Callable[[], float] = time.monotonic,
        on_forgotten: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_due = on_due
        self._on_forgotten = on_forgotten
        self._monotonic = monotonic
        self._choices: dict[TaskKey, Choice] = {}
        self._rejected: dict[TaskKey, set[Config]] = {}
        self._weak: dict[TaskKey, tuple[TuningTask, float]] = {}  # those that were asked for least recently come first
        self._timer = RearmingTimer(ASK_AGAIN_AFTER_S, self._run)
        forks.renew_in_child(self._timer)

    def get(self, task: TuningTask) -> Choice | None:
        """Return the choice that was made for this task, as it was made."""
        if self._weak:
            self._timer.arm()  # in a forked child, which has no timer yet
        return self._choices.get(task.key)

    def choices(self) -> dict[TaskKey, Choice]:
        """Return all choices, as they were made."""
        return dict(self._choices)

    @property
    def has_weak(self) -> bool:
        """Whether a task is to be looked up again."""
        return bool(self._weak)

    def put(self, task: TuningTask, choice: Choice, *, ask_again: bool) -> None:
        """Remember a choice; with `ask_again`, a weak one only until the store has a better one."""
        key = task.key
        make_room(self._choices, MAX_CHOICES)
        if make_room(self._weak, MAX_CHOICES // 2):
            self._on_forgotten()
        if choice.sweep is not None and choice.sweep.trials:  # they can be read from the store
            choice = replace(choice, sweep=replace(choice.sweep, trials=()))
        self._choices[key] = choice
        self._weak.pop(key, None)
        if choice.is_weak and ask_again:
            self._weak[key] = task, self._monotonic()
            self._timer.arm()

    def forget(self, task: TuningTask) -> None:
        """Make the next call decide again."""
        self._choices.pop(task.key, None)
        self._weak.pop(task.key, None)

    def reject(self, task: TuningTask, config: Config) -> bool:
        """Exclude a config that does not launch from this process's choices; return False if it is excluded already."""
        if self.is_rejected(task, config):
            return False
        make_room(self._rejected, MAX_CHOICES)
        self._rejected.setdefault(task.key, set()).add(config)
        self.forget(task)
        return True

    def is_rejected(self, task: TuningTask, config: Config) -> bool:
        """Say whether the config does not launch in this process."""
        return config in self._rejected.get(task.key, ())

    def has_rejected(self, task: TuningTask) -> bool:
        """Say whether any config of the task does not launch in this process."""
        return bool(self._rejected.get(task.key))

    def due(self) -> list[TuningTask]:
        """Return tasks that have had a weak choice for ASK_AGAIN_AFTER_S, at most MAX_ASKED, the oldest first.

        Each is due again after as long.
        """
        now, due = self._monotonic(), []
        for key, (task, since) in list(self._weak.items())[:MAX_ASKED]:
            if now - since < ASK_AGAIN_AFTER_S:
                break
            if self._weak.pop(key, None) is not None:  # another thread may have found a better choice
                self._weak[key] = task, now
                due.append(task)
        return due

    def close(self) -> None:
        """Stop the timer, for good."""
        self._weak.clear()
        self._timer.close()

    def _run(self) -> bool:
        self._on_due()
        return bool(self._weak)
