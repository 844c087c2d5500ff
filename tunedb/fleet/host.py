"""Tunes problems on several slots of this host at once, each slot with a supervised worker of its own."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.errors import SweepError
from tunedb.fleet.early_workers import EarlyWorkers
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.slots import Slot, needed
from tunedb.fleet.task_run import LOST, HostObserver, HostRun, Outcome, TaskRun, TunesTask
from tunedb.worker.supervisor import MAX_RELEASE_S, Interrupted, Supervisor

POLL_S = 0.1  # between two looks for a GPU that another process uses
_log = logging.getLogger("tunedb")


def tune_on_host(
    tasks: Sequence[TuningTask],
    slots: Sequence[Slot],
    run: HostRun,
    observer: HostObserver,
    early: EarlyWorkers | None = None,
) -> list[Outcome]:
    """Tune tasks, each on a slot with its device, the longest first. Return the outcome of each that was reached.

    A task never leaves its slot, whose worker may have been started `early`. A worker that ends is replaced, as
    `Supervisor` does; a slot that can start none is given up, and the others go on; the tasks of a device without
    another slot are `lost`. If this is interrupted, all workers are ended, and their sweeps stored as aborted. Raises
    SweepError if no slot is left, and StoreError if the store fails.
    """
    crew = _Crew(tasks, needed(slots, tasks), run, early or EarlyWorkers())
    outcomes: list[Outcome] = []
    try:
        for event in crew.events():
            event.tell(observer)
            if event.outcome is not None:
                outcomes.append(event.outcome)
    finally:
        crew.end()
    return outcomes


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that the observer is to hear, on the main thread."""

    tell: Callable[[HostObserver], None]
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a slot's thread, and what ended it early."""

    slot: Slot
    error: BaseException | None


def _done(slot: Slot, outcome: Outcome) -> _Event:
    return _Event(lambda observer: observer.done(slot, outcome), outcome)


class _Crew:
    """The threads that supervise the workers. What happens on them comes to the main thread, as events."""

    def __init__(self, tasks: Sequence[TuningTask], slots: Sequence[Slot], run: HostRun, early: EarlyWorkers) -> None:
        self._shared = TaskRun(tasks, run)
        self._queue: queue.SimpleQueue[_Event | _End] = queue.SimpleQueue()
        self._copy_rates = run.copy_rates
        taken = early.take(slot.name for slot in slots)
        # Held from then on until the first task is done: by then its worker has made the GPU's context, or has ended.
        self._gpus = {name: worker.gpu for name, worker in taken.items() if worker.gpu is not None}
        started = {name: worker.process for name, worker in taken.items()}
        make = partial(Supervisor, run.store, run.settings, workers=len(slots))
        self._supervisors = {
            slot.name: make(slot.index, run.step, variables=slot.variables, started=started.get(slot.name))
            for slot in slots
        }
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"tunedb {slot.name}", daemon=True) for slot in slots
        ]
        for thread in self._threads:
            thread.start()

    def events(self) -> Iterator[_Event]:
        """Yield what happens until all threads have ended. Raises what ended the run, or SweepError if no slot is left.

        An error of one slot's worker is logged, and raised only if no slot could go on. The tasks of a device without
        a slot that could go on are lost.
        """
        failed: list[tuple[Slot, SweepError]] = []
        running = len(self._threads)
        while running:
            event = self._queue.get()
            if isinstance(event, _Event):
                yield event
                continue
            running -= 1
            if isinstance(event.error, SweepError):
                _log.error("%s", event.error)
                failed.append((event.slot, event.error))
            elif event.error is not None:
                raise event.error
        if failed and len(failed) == len(self._threads):
            raise failed[0][1]
        for slot, error in failed:
            for task in self._shared.tasks.remove(slot.device.digest):
                yield _done(slot, Outcome(task, LOST, None, str(error)))

    def end(self) -> None:
        """End what still runs, and wait until its sweeps are stored as aborted."""
        self._shared.tasks.close()
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
        error: BaseException | None = None
        try:
            with self._supervisors[slot.name] as supervisor:

                def ask(task: TuningTask, **options: Any) -> tuple[str, Sweep | None]:
                    return supervisor.tune(task.problem, task.arguments, **options)

                rest = partial(self._rest, slot, supervisor)
                while (task := self._shared.next(slot, on_idle=rest)) is not None:
                    self._tune(slot, ask, task)
                rest()
        except Interrupted:
            pass
        # Raised on the main thread: an error of the store, which ends the run, or of the worker's start.
        except BaseException as raised:
            error = raised
        finally:
            if (gpu := self._gpus.pop(slot.name, None)) is not None:
                gpu.close()
            self._queue.put(_End(slot, error))

    def _rest(self, slot: Slot, supervisor: Supervisor) -> None:
        """Have the slot's worker measure the copy rate if it is running; called while there is no task for it.

        A worker that was started early and got no task ends: the GPU is for others.
        """
        if (gpu := self._gpus.pop(slot.name, None)) is not None:
            with gpu:
                supervisor.let_go()
        if self._copy_rates is not None and supervisor.is_running and not self._shared.tasks.is_closed:
            self._copy_rates.measure(slot, supervisor.measure_copy_rate)

    def _tune(self, slot: Slot, ask: TunesTask, task: TuningTask) -> None:
        with contextlib.ExitStack() as held:
            if not self._wait_for_gpu(slot, held):
                self._shared.tasks.give_back(task)
                return
            outcome = self._shared.tune(slot, task, ask, lambda hear: self._queue.put(_Event(hear)))
        if outcome is not None:
            self._queue.put(_done(slot, outcome))

    def _wait_for_gpu(self, slot: Slot, held: contextlib.ExitStack) -> bool:
        """Wait until no other process of this host sweeps on the slot's GPU; return False if the run ends before."""
        while slot.gpu_name is not None and not self._shared.is_over:
            if (gpu := self._gpus.pop(slot.name, None)) is not None:
                held.push(gpu)
                return True
            with contextlib.ExitStack() as tried:
                if tried.enter_context(try_gpu(slot.gpu_name)):
                    held.push(tried.pop_all())
                    return True
            time.sleep(POLL_S)
        return slot.gpu_name is None
