"""Tuning of one task: a sweep under the problem's lock, unless another process or thread has tuned it meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb.core.claim import LEASE_S
from tunedb.core.sweep import Source, Sweep, TrialStatus, now
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import CallerError
from tunedb.runtime.clock import Clock, own_clock, untraced
from tunedb.settings import Settings
from tunedb.store.interface import SweepStore
from tunedb.store.ranking import winner
from tunedb.sweep.observer import LogObserver, Observer
from tunedb.tuner.behind import adopt, better_ranked
from tunedb.tuner.choice_cache import ChoiceCache
from tunedb.tuner.crash_record import CrashRecord
from tunedb.tuner.lookup import Lookup
from tunedb.tuner.tuning_result import Answered, Skipped, Swept, TuningResult

if TYPE_CHECKING:
    from tunedb.sweep.history import SweepHistory
    from tunedb.tuner.turn import SweepTurn

_log = logging.getLogger("tunedb")


@dataclass(slots=True)
class Spent:
    """The seconds that one process has spent sweeping inside calls, also under other settings."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _State:
    """The state of a task before it is swept; it is settled if no sweep is needed."""

    choice: Choice | None = None
    is_settled: bool = False


class Sweeper:
    """The sweeper of tasks: one at a time in this process, and one process at a time for a problem."""

    def __init__(
        self,
        settings: Settings,
        store: SweepStore,
        lookup: Lookup,
        cache: ChoiceCache,
        *,
        locks: Path,
        clock: Callable[[int], Clock],
        spent: Spent,
        supervised: bool,
        lease: float = LEASE_S,
        owner: str | None = None,
        on_late: Callable[[TuningTask], object] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spent = spent
        self._lease = lease
        self._given_owner = owner
        self._on_late = on_late
        self._settings = settings
        self._store = store
        self._lookup = lookup
        self._cache = cache
        self._locks = locks
        self._clock = clock
        self._is_supervised = supervised
        self._monotonic = monotonic
        self.renew()
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Make the lock again in a forked child: a sweep of the parent's would never end here."""
        # Two sweeps at a time on one GPU would disturb each other's times. Reentrant, because a sweep's reference may
        # itself call a kernel that is tuned.
        self._one_sweep = threading.RLock()
        self._owner: str | None = self._given_owner  # of claims; made at the first one

    def tune_in_call(self, task: TuningTask) -> TuningResult:
        """Sweep within what is left of the process's budget, unless the store answers or the task failed not long ago.

        If something fails, the call goes on without a sweep. Only an error of the caller's own, which its launch would
        raise too, is raised as CallerError.
        """
        try:
            return self._tune_in_call(task)
        except CallerError:
            raise
        # Too little memory, or a fault of the kernel's own code: neither is the caller's doing.
        except Exception as error:
            let_pass(error)
            _log.warning("%s could not be tuned (%s: %s).", task.kernel.name, type(error).__name__, str(error))
            return Skipped(f"{type(error).__name__}: {error}")

    def _tune_in_call(self, task: TuningTask) -> TuningResult:
        if self._budget_left() <= 0:
            return Skipped("the budget is spent")
        look = partial(self._look, task, settled_by_failure=True)
        with self._turn(task, lambda: look().is_settled) as turn:
            state = look()
            if state.is_settled or not turn.take(lambda: look().is_settled, is_first=state.choice is None):
                return self._unswept(task, look() if turn.lock.held else state, turn)
            history = self._lookup.history(task)  # not under the lock: other threads would wait for the store as well
            with self._alone_in_process() as is_alone:
                if not is_alone:
                    return Skipped("another thread is tuning")
                budget, start = self._budget_left(), self._monotonic()  # other threads may have spent the rest of it
                if budget <= 0:
                    return Skipped("the budget is spent")
                try:
                    sweep = self._sweep(task, turn, history, budget, LogObserver())
                finally:
                    self.spent.seconds += self._monotonic() - start
            return self._swept(task, sweep, state, turn)

    @contextlib.contextmanager
    def _alone_in_process(self) -> Iterator[bool]:
        """Keep other threads from sweeping; yields whether their sweeps ended within the timeout.

        A sweep may wait for this very thread: its reference may run a backward pass, for which torch has threads.
        """
        is_alone = self._one_sweep.acquire(timeout=min(self._settings.lock_timeout, threading.TIMEOUT_MAX))
        try:
            yield is_alone
        finally:
            if is_alone:
                self._one_sweep.release()

    def tune_ahead(
        self,
        task: TuningTask,
        *,
        force: bool,
        builds_on: Collection[str] | None,
        budget: float,
        observer: Observer,
        waits: bool = True,
        waited: float = 0.0,
    ) -> TuningResult:
        """Sweep within the budget, in seconds, unless the store answers; with `force`, sweep in any case.

        Trials of earlier sweeps with the uids of `builds_on` count, or of all unfinished ones if it is None. A task
        that another process has claimed is Skipped, at once unless this one `waits`; `waited` is for how many seconds
        it has been so, see `Tuner.tune_ahead`.
        Raises what the kernel's workload and its clock raise.
        """
        if budget <= 0:
            return Skipped("the budget is spent")
        look = _State if force else partial(self._look, task, settled_by_failure=False)
        with self._turn(task, lambda: look().is_settled, waits=waits, waited=waited) as turn:
            state = look()
            is_first = state.choice is None and not force
            if state.is_settled or not turn.take(lambda: look().is_settled, is_first=is_first):
                return self._unswept(task, look() if turn.lock.held else state, turn)
            if force:
                state = _State(self._lookup.get(task).choice)
            history = self._lookup.history(task, whole_space=force, builds_on=builds_on)
            with self._one_sweep:
                sweep = self._sweep(task, turn, history, budget, observer, forgets=builds_on is not None)
            return self._swept(task, sweep, state, turn)

    @contextlib.contextmanager
    def alone(self, task: TuningTask) -> Iterator[bool]:
        """Keep others from tuning this task meanwhile; yields whether the lock was acquired within its timeout."""
        with self._turn(task, lambda: False) as turn, self._one_sweep:
            yield turn.lock.held

    def clock(self, task: TuningTask, index: int) -> Clock:
        """Return the clock of the task's kernel on the device of that index."""
        own = own_clock(task.kernel)
        return self._clock(index) if own is None else own

    def _budget_left(self) -> float:
        return self._settings.budget - self.spent.seconds

    def _turn(
        self, task: TuningTask, is_settled: Callable[[], bool], *, waits: bool = True, waited: float = 0.0
    ) -> contextlib.AbstractContextManager[SweepTurn]:
        from tunedb.tuner.turn import new_owner, sweep_turn  # here, because a hit needs no filelock

        if self._owner is None:
            self._owner = new_owner()
        return sweep_turn(
            task, self._store, self._locks, owner=self._owner, lease=self._lease,
            patience=self._settings.lock_timeout if waits else 0.0, waited=waited,
            is_known=is_settled, on_late=partial(self._on_late, task), is_supervised=self._is_supervised,
        )  # fmt: skip

    def _look(self, task: TuningTask, *, settled_by_failure: bool) -> _State:
        """Return the task's state, given what other threads and processes have tuned."""
        remembered = self._cache.get(task)
        if remembered is not None and not remembered.is_weak:
            return _State(remembered, is_settled=True)
        choice, has_failed = self._lookup.get(task)
        if choice is None:
            return _State(None, is_settled=has_failed and settled_by_failure)
        return _State(choice, is_settled=not self._lookup.remaining(task, choice))

    def _unswept(self, task: TuningTask, state: _State, turn: SweepTurn) -> Answered | Skipped:
        if state.choice is not None:
            return Answered(state.choice)
        if turn.has_failed_elsewhere:
            return Skipped("a sweep of it has just failed in another process")
        if state.is_settled:
            return Skipped("a sweep of it failed on this machine not long ago")
        _log.info("%s: another process is still tuning this problem.", task.kernel.name)
        return Skipped("another process is still tuning this problem", is_claimed=True)

    def _sweep(
        self,
        task: TuningTask,
        turn: SweepTurn,
        history: SweepHistory,
        budget: float,
        observer: Observer,
        *,
        forgets: bool = False,  # what killed earlier processes
    ) -> Sweep:
        from tunedb.sweep.run import SweepContext, run_sweep  # here, because a hit needs no part of a sweep

        environment = self._lookup.environment(task)
        assert task.index is not None  # only tasks on a device of this process are swept
        assert environment is not None
        # Without a lock between processes another one may be using the record.
        is_recorded = turn.lock.excludes_processes and not self._is_supervised
        record = CrashRecord(self._locks, task, environment)
        if forgets or not is_recorded:
            record.clear()
        recording = record.kept(observer) if is_recorded else contextlib.nullcontext(observer)
        try:
            with untraced(task.index), recording as watching:
                context = SweepContext(
                    environment=environment,
                    make_clock=partial(self.clock, task, task.index),
                    recorder=turn,
                    observer=watching,
                    monotonic=self._monotonic,
                )
                return run_sweep(task, context, budget=budget, history=replace(history, suspects=dict(record.deaths)))
        finally:
            self._lookup.neighbors.forget(task)

    def _ranks_behind(self, task: TuningTask, sweep: Sweep, before: Choice) -> bool:
        """Say whether the store ranks a sweep that was cut short behind what served the task before it."""
        failed = {trial.config for trial in sweep.trials if trial.status not in (TrialStatus.OK, TrialStatus.PRUNED)}
        if before.sweep is None or before.config in failed:
            return False
        best = winner([before.sweep, sweep], self._lookup.environment(task), now=now())
        return best is not None and best[0].uid == before.sweep.uid

    def _swept(self, task: TuningTask, sweep: Sweep, state: _State, turn: SweepTurn) -> Swept | Skipped:
        # Processes that wait for it would find nothing, and sweep again. Threads find it in memory.
        if not self._store.wait_until_written(sweep.uid):
            turn.lock.keep_until(partial(self._store.is_settled, sweep.uid))
        if turn.is_overtaken:
            return adopt(task, sweep, turn, self._lookup)
        choice = None if sweep.config is None else Choice(sweep.config, Source.SWEEP, sweep)
        if state.choice is not None and not sweep.complete and self._ranks_behind(task, sweep, state.choice):
            choice = state.choice
        if choice is not None and turn.is_unclaimed:
            choice = better_ranked(task, sweep, turn, self._lookup, choice) or choice
        return Swept(sweep, choice)
