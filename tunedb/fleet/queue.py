"""The queue of the problems that one run tunes on several slots: what is free, what waits for others, what is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from tunedb.core.task import TaskKey, TuningTask

LOOK_AGAIN_S = 0.5  # between two looks at a problem that is tuned elsewhere; by judgement: a look costs milliseconds


class TaskQueue:
    """Tasks in the order in which they are taken, each by a slot with its device.

    A task that is tuned elsewhere is passed over, and looked at again when no other is left: until it is done there, or
    nothing was done for `patience` seconds.
    """

    def __init__(
        self, tasks: Iterable[TuningTask], patience: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._waiting = list(tasks)
        self._elsewhere: list[tuple[float, TuningTask]] = []  # with the time of the next look, the earliest first
        self._running: dict[TaskKey, tuple[float, TuningTask]] = {}  # with the time of its start
        self._passed_over: dict[TaskKey, float] = {}  # with the time of the first look
        self._patience = patience
        self._monotonic = monotonic
        self._progress_at = monotonic()
        self.is_closed = False
        self._changed = threading.Condition()

    def take(self, device: str) -> TuningTask | None:
        """Return the next task for this device; waits for one that may still come. Returns None after the last."""
        with self._changed:
            while not self.is_closed:
                now = self._monotonic()
                task = next((task for task in self._waiting if task.device.digest == device), None)
                if task is not None:
                    self._waiting.remove(task)
                    self._running[task.key] = now, task
                    return task
                again = next((entry for entry in self._elsewhere if entry[1].device.digest == device), None)
                if again is not None and again[0] <= now:
                    self._elsewhere.remove(again)
                    self._running[again[1].key] = now, again[1]
                    return again[1]
                if again is None and not any(task.device.digest == device for _, task in self._running.values()):
                    return None
                self._changed.wait(None if again is None else again[0] - now)
            return None

    def has(self, device: str) -> bool:
        """Say whether there is a task for this device that nobody has taken yet."""
        with self._changed:
            return any(task.device.digest == device for task in self._waiting)

    def was_passed_over(self, task: TuningTask) -> bool:
        """Say whether a task is looked at again."""
        return task.key in self._passed_over

    def waited(self, task: TuningTask) -> float:
        """Return the seconds since the first look at a task that was passed over; 0.0 for another one.

        A sweep of it that has failed elsewhere in that time is not tried again.
        """
        began = self._passed_over.get(task.key)
        return 0.0 if began is None else self._monotonic() - began

    def done(self, task: TuningTask) -> None:
        """Note that a task is done."""
        with self._changed:
            del self._running[task.key]
            self._progress_at = self._monotonic()
            self._changed.notify_all()

    def pass_over(self, task: TuningTask) -> bool:
        """Put a task aside that is tuned elsewhere; return False if that was waited for long enough: it is done."""
        with self._changed:
            now = self._monotonic()
            others = [since for key, (since, _) in self._running.items() if key != task.key]
            # Tasks of another device may wait for ever: its worker may not have started.
            waiting = any(other.device == task.device for other in self._waiting)
            is_idle = not waiting and all(now - since < LOOK_AGAIN_S for since in others)  # others only look too
            if is_idle and now - self._progress_at > self._patience:
                return False
            looked_at, _ = self._running.pop(task.key)
            self._passed_over.setdefault(task.key, looked_at)
            self._elsewhere.append((now + LOOK_AGAIN_S, task))
            self._changed.notify_all()
            return True

    def give_back(self, task: TuningTask) -> None:
        """Put a task back whose slot can't go on: the next one takes it."""
        with self._changed:
            del self._running[task.key]
            self._waiting.insert(0, task)
            self._changed.notify_all()

    def remove(self, device: str) -> list[TuningTask]:
        """Remove and return the tasks for this device that nobody is tuning here: no slot is left for them."""
        with self._changed:
            waiting = [*self._waiting, *(task for _, task in self._elsewhere)]
            removed = [task for task in waiting if task.device.digest == device]
            self._waiting = [task for task in self._waiting if task.device.digest != device]
            self._elsewhere = [entry for entry in self._elsewhere if entry[1].device.digest != device]
            return removed

    def close(self) -> None:
        """Give out no more tasks."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
