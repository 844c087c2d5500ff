"""Tunes problems on several slots of this host at once, each slot with a supervised worker of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tunedb.core.sweep import Sweep, Trial, now
from tunedb.core.task import TaskKey, TuningTask
from tunedb.errors import SweepError
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.order import longest_first
from tunedb.fleet.queue import TaskQueue
from tunedb.fleet.slots import Slot
from tunedb.settings import Settings
from tunedb.worker.supervisor import MAX_RELEASE_S, MAX_STEP_S, Interrupted, Supervisor

if TYPE_CHECKING:
    from tunedb.core.problem import Config
    from tunedb.store import Store

POLL_S = 0.1  # between two looks for a GPU that another process uses
MIN_BUDGET_S = 0.1  # of a task that was taken just before the budget was spent
BUSY, STORED = "busy", "stored"  # of `child.tune_task`
_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: a word of `child.tune_task`, and the sweep behind it."""

    task: TuningTask
    word: str
    sweep: Sweep | None


class HostObserver(Protocol):
    """An observer of a run. It is called on one thread only."""

    def begins(self, slot: Slot, task: TuningTask) -> None:
        """A slot takes a task."""

    def started(self, slot: Slot, candidates: int) -> None:
        """The sweep of the slot's task starts, with so many configs."""

    def tried(self, slot: Slot, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """A trial ended; these are the best time and the default's so far."""

    def passed_over(self, slot: Slot, task: TuningTask) -> None:
        """The slot's task is tuned elsewhere, and is looked at again later."""

    def done(self, slot: Slot, outcome: Outcome) -> None:
        """The slot's task ended."""


@dataclass(frozen=True, slots=True)
class HostRun:
    """What a run on this host needs besides its tasks and its slots. See `Tuner.tune_ahead` for `force`, `builds_on`.

    `budget` is for the whole run, `step` for one step of a trial, both in seconds; `seconds` says how long the sweeps
    will take, for their order.
    """

    store: Store
    settings: Settings
    force: bool = False
    builds_on: Sequence[str] | None = None
    budget: float = math.inf
    step: float = MAX_STEP_S
    seconds: Mapping[TaskKey, float] = dataclasses.field(default_factory=dict)


def tune_on_host(
    tasks: Sequence[TuningTask], slots: Sequence[Slot], run: HostRun, observer: HostObserver
) -> list[Outcome]:
    """Tune tasks, each on a slot with its device, the longest first. Return the outcome of each that was reached.

    A task never leaves its slot. A worker that ends is replaced, as `Supervisor` does; a slot that can start none is
    given up, and the others go on. If this is interrupted, all workers are ended, and their sweeps stored as aborted.
    Raises SweepError if no slot is left, and StoreError if the store fails.
    """
    crew = _Crew(tasks, slots, run)
    outcomes: list[Outcome] = []
    try:
        for event in crew.events():
            event(observer)
            if event.outcome is not None:
                outcomes.append(event.outcome)
    finally:
        crew.end()
    return outcomes


def core_share(slots: int) -> int:
    """Return how many configs each worker compiles at a time: all of them use the host's cores once, not once each."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, slots))


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that the observer is to hear, on the main thread."""

    tell: Callable[[HostObserver], None]
    outcome: Outcome | None = None

    def __call__(self, observer: HostObserver) -> None:
        self.tell(observer)


class _Crew:
    """The threads that supervise the workers. What happens on them comes to the main thread, as events."""

    def __init__(self, tasks: Sequence[TuningTask], slots: Sequence[Slot], run: HostRun) -> None:
        self._run = run
        self._began, self._deadline = now(), time.monotonic() + run.budget
        ordered = longest_first(tasks, {task.key: run.seconds.get(task.key, 0.0) for task in tasks})
        self._tasks = TaskQueue(ordered, run.settings.lock_timeout)
        self._queue: queue.SimpleQueue[_Event | BaseException | None] = queue.SimpleQueue()
        shared = partial(Supervisor, run.store, run.settings, compiles=core_share(len(slots)))
        self._supervisors = {slot.name: shared(slot.index, run.step, variables=slot.variables) for slot in slots}
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"tunedb {slot.name}", daemon=True) for slot in slots
        ]
        for thread in self._threads:
            thread.start()

    def events(self) -> Iterator[_Event]:
        """Yield what happens until all threads have ended. Raises what ended the run, or SweepError if no slot is left.

        An error of one slot's worker is logged, and raised only if no slot could go on.
        """
        errors: list[BaseException] = []
        running = len(self._threads)
        while running:
            event = self._queue.get()
            if isinstance(event, SweepError):
                _log.error("%s", event)
                errors.append(event)
            elif isinstance(event, BaseException):
                raise event
            elif event is None:
                running -= 1
            else:
                yield event
        if errors and len(errors) == len(self._threads):
            raise errors[0]

    def end(self) -> None:
        """End what still runs, and wait until its sweeps are stored as aborted."""
        self._tasks.close()
        running = [pair for pair in zip(self._threads, self._supervisors.values(), strict=True) if pair[0].is_alive()]
        for _, supervisor in running:
            supervisor.interrupt()
        deadline = time.monotonic() + MAX_RELEASE_S
        for thread, supervisor in running:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():  # its worker may hang
                supervisor.interrupt(force=True)
                thread.join()

    def _work(self, slot: Slot) -> None:
        try:
            with self._supervisors[slot.name] as supervisor:
                while (task := self._next(slot)) is not None:
                    self._tune(slot, supervisor, task)
        except Interrupted:
            pass
        # Raised on the main thread: an error of the store, which ends the run, or of the worker's start.
        except BaseException as error:
            self._queue.put(error)
        finally:
            self._queue.put(None)

    def _next(self, slot: Slot) -> TuningTask | None:
        return None if time.monotonic() >= self._deadline else self._tasks.take(slot.device.digest)

    def _tune(self, slot: Slot, supervisor: Supervisor, task: TuningTask) -> None:
        with contextlib.ExitStack() as held:
            if not self._wait_for_gpu(slot, held):
                self._tasks.give_back(task)
                return
            self._tell(lambda observer: observer.begins(slot, task))
            try:
                word, sweep = self._ask(slot, supervisor, task)
            except SweepError:
                self._tasks.give_back(task)
                raise
        if word == BUSY and self._tasks.pass_over(task):
            self._tell(lambda observer: observer.passed_over(slot, task))
        else:
            self._done(slot, Outcome(task, word, sweep))

    def _wait_for_gpu(self, slot: Slot, held: contextlib.ExitStack) -> bool:
        """Wait until no other process of this host sweeps on the slot's GPU; return False if the run ends before."""
        while slot.gpu_name is not None and not self._tasks.is_closed and time.monotonic() < self._deadline:
            with contextlib.ExitStack() as tried:
                if tried.enter_context(try_gpu(slot.gpu_name)):
                    held.push(tried.pop_all())
                    return True
            time.sleep(POLL_S)
        return slot.gpu_name is None

    def _ask(self, slot: Slot, supervisor: Supervisor, task: TuningTask) -> tuple[str, Sweep | None]:
        """Have the worker tune the task; after a pass-over not again if the other process's sweep ended well."""
        run = self._run
        ask = partial(
            supervisor.tune, task.problem, task.arguments, builds_on=run.builds_on, observer=_Relay(slot, self._tell),
            waits=False,  # there are others
        )  # fmt: skip
        if run.force and self._tasks.was_passed_over(task):
            word, sweep = ask(force=False, budget=self._left())
            if word != STORED or sweep is None or (sweep.finished is not None and sweep.finished >= self._began):
                return word, sweep
        return ask(force=run.force, budget=self._left())

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), MIN_BUDGET_S)

    def _done(self, slot: Slot, outcome: Outcome) -> None:
        self._tasks.done(outcome.task)
        self._queue.put(_Event(lambda observer: observer.done(slot, outcome), outcome))

    def _tell(self, tell: Callable[[HostObserver], None]) -> None:
        self._queue.put(_Event(tell))


class _Relay:
    """The observer of one slot's sweeps: what it hears, as `sweep.observer.Observer`, the run's observer hears."""

    def __init__(self, slot: Slot, tell: Callable[[Callable[[HostObserver], None]], None]) -> None:
        self._slot = slot
        self._tell = tell

    def started(self, sweep: Sweep, candidates: int) -> None:  # noqa: ARG002 (the protocol hands it in)
        """Hand on that a sweep starts."""
        self._tell(lambda observer: observer.started(self._slot, candidates))

    def trying(self, config: Config) -> None:
        """Hand on nothing: a trial is shown when it is done."""

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Hand on the trial."""
        self._tell(lambda observer: observer.tried(self._slot, trial, best_us, default_us))

    def finished(self, sweep: Sweep) -> None:
        """Hand on nothing: the outcome says it."""
