"""A process's memory: its choices, the configs that do not launch in it, and the tasks to look up again."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from tunedb._internal import forks
from tunedb._internal.timer import RearmingTimer
from tunedb.core.problem import Config
from tunedb.core.task import Choice, TaskKey, TuningTask

ASK_AGAIN_AFTER_S = 60.0  # the store is asked again for a task that got a default, off the path of a call


class ChoiceCache:
    """Choices by task, and the configs that do not launch in this process.

    A weak choice is due for another look-up after a while: `on_due` then runs on a timer's thread.
    """

    def __init__(self, on_due: Callable[[], object], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._on_due = on_due
        self._monotonic = monotonic
        self._choices: dict[TaskKey, Choice] = {}
        self._rejected: defaultdict[TaskKey, set[Config]] = defaultdict(set)
        self._weak: dict[TaskKey, tuple[TuningTask, float]] = {}
        self._timer = RearmingTimer(ASK_AGAIN_AFTER_S, self._run)
        forks.renew_in_child(self._timer)

    def get(self, task: TuningTask) -> Choice | None:
        """Return the choice that was made for this task, as it was made."""
        if self._weak:
            self._timer.arm()  # in a forked child, which has no timer yet
        return self._choices.get(task.key)

    @property
    def has_weak(self) -> bool:
        """Whether a task is to be looked up again."""
        return bool(self._weak)

    def put(self, task: TuningTask, choice: Choice, *, ask_again: bool) -> None:
        """Remember a choice; with `ask_again`, a weak one only until the store has a better one."""
        self._choices[task.key] = choice
        self._weak.pop(task.key, None)
        if choice.is_weak and ask_again:
            self._weak[task.key] = task, self._monotonic()
            self._timer.arm()

    def forget(self, task: TuningTask) -> None:
        """Make the next call decide again."""
        self._choices.pop(task.key, None)
        self._weak.pop(task.key, None)

    def reject(self, task: TuningTask, config: Config) -> bool:
        """Exclude a config that does not launch from this process's choices; return False if it is excluded already."""
        if self.is_rejected(task, config):
            return False
        self._rejected[task.key].add(config)
        self.forget(task)
        return True

    def is_rejected(self, task: TuningTask, config: Config) -> bool:
        """Say whether the config does not launch in this process."""
        return config in self._rejected.get(task.key, ())

    def has_rejected(self, task: TuningTask) -> bool:
        """Say whether any config of the task does not launch in this process."""
        return bool(self._rejected.get(task.key))

    def due(self) -> list[TuningTask]:
        """Return the tasks that have had a weak choice for ASK_AGAIN_AFTER_S; each is due again after as long."""
        now = self._monotonic()
        due = [task for task, since in list(self._weak.values()) if now - since >= ASK_AGAIN_AFTER_S]
        for task in due:
            self._weak[task.key] = task, now
        return due

    def close(self) -> None:
        """Stop the timer, for good."""
        self._weak.clear()
        self._timer.close()

    def _run(self) -> bool:
        self._on_due()
        return bool(self._weak)
