"""The life of one call: what is remembered, what is stored, one sweep where nothing is, and the default."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tunedb.core.device import Environment, device_of, environment
from tunedb.core.kernel import TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import CallerError, MissError, TrialError
from tunedb.override import overridden
from tunedb.runtime.clock import Clock, clock_for, method_for, own_clock, untraced
from tunedb.settings import Settings
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.sweep.history import SweepHistory
from tunedb.sweep.observer import LogObserver, Observer
from tunedb.sweep.run import run_sweep
from tunedb.tuner.choice_cache import Choice, ChoiceCache, TuningTask
from tunedb.tuner.lookup import Lookup
from tunedb.tuner.unhashed import choice_without_hash, fault_of
from tunedb.tuner.usage_counter import UsageCounter

if TYPE_CHECKING:
    from tunedb.store import Store

_log = logging.getLogger("tunedb")
_T = TypeVar("_T")


_tuners: weakref.WeakSet[Tuner] = weakref.WeakSet()


@dataclass(slots=True)
class Spent:
    """The seconds that one process has spent sweeping inside calls, also under other settings."""

    seconds: float = 0.0


class Tuner:
    """Finds the config for a call. One per process, made anew when the settings change.

    Everything that touches the world is handed in: the store, behind a shelf or bare; the folder of the lock files;
    the sweep of a case within a budget in seconds, told to an observer, which builds on what is known; the environment
    by device index; the clock of kernels that have none of their own.
    `on_better` is called when the store has come to answer what was answered by a default.
    """

    def __init__(
        self,
        settings: Settings,
        store: LayeredStore | GuardedStore | Store,
        *,
        locks: Path,
        sweep: Callable[[TuningTask, float, Observer, SweepHistory], Sweep] | None = None,
        environment_of: Callable[[int], Environment] | None = None,
        clock: Callable[[int], Clock] = clock_for,
        spent: Spent | None = None,
        on_better: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.store = store
        self.spent = spent or Spent()
        self.memory = ChoiceCache(self.refresh, monotonic)
        self.ledger = UsageCounter(store.add_served)
        self._locks = locks
        self._sweep = sweep or self._run_sweep
        self._clock = clock
        self._on_better = on_better
        self._monotonic = monotonic
        self._failed: set[tuple[str, ...]] = set()  # cases that this tuner has swept in vain
        self.answers = Lookup(store, self.memory, environment_of or _environment_of, monotonic)
        self._renew()
        _tuners.add(self)

    def _renew(self) -> None:
        # Two at a time on one GPU would measure each other; within one, a kernel that its reference calls may be swept.
        self._one_sweep = threading.RLock()

    def bind(
        self, kernel: TunableKernel, problem: Problem, index: int, load: Callable[[Config], _T]
    ) -> tuple[Choice, _T]:
        """The choice for a call together with what `load` makes of its config, a compiled kernel say.

        A config that `load` refuses with TrialError is not used again in this process, and the next one is taken.
        Raises TrialError where the default itself is refused, and what `choose` raises.
        """
        case = TuningTask(kernel, problem, device_of(index), index)
        while True:
            choice = self.choose(kernel, problem, index)
            try:
                return choice, load(choice.config)
            except TrialError as error:
                if choice.source == "default" or fault_of(kernel) or not self.memory.reject(case, choice.config):
                    raise
                _log.warning("%s: config %s does not launch (%s); taking the next.", kernel.name, choice.config, error)

    def choose(self, kernel: TunableKernel, problem: Problem, index: int) -> Choice:
        """The choice for a call; sweeps where the store has no answer and the mode allows it.

        Raises MissError in mode `strict` where nothing is stored, SettingError for an override that can't be used.
        """
        case = TuningTask(kernel, problem, device_of(index), index)
        fault = fault_of(kernel)
        if fault is not None:
            return choice_without_hash(case, fault, self.settings)
        known = self.memory.get(case)
        if known is not None:
            return replace(known, source="memory")
        choice = self._decide(case)
        self.ledger.count(case, choice)
        self.memory.put(case, choice, ask_again=self.settings.mode != "off")
        return choice

    def look_up(self, case: TuningTask) -> Choice | None:
        """What the store answers, without tuning and without remembering: a choice from `store` or `stale`, or None.

        On a device that is not here nothing is stale.
        """
        return self.answers.get(case)[0]

    def warm(
        self, case: TuningTask, *, force: bool = False, budget: float = float("inf"), observer: Observer | None = None
    ) -> Choice | None:
        """Tune a case ahead of its calls, unless the store has its config; with `force`, tune again.

        None where no config came out of it: the candidates all failed, or another process holds the problem's lock.
        """
        choice = self._tune(case, lambda: budget, observer or LogObserver(), look=not force, in_call=False)
        if choice is not None:
            self.memory.put(case, choice, ask_again=False)
            self._on_better()
        return choice

    def clock(self, case: TuningTask, index: int) -> Clock:
        """The clock of the case's kernel on the device of that index."""
        own = own_clock(case.kernel)
        return self._clock(index) if own is None else own

    def refresh(self) -> int:
        """Look again for what got a default a while ago; returns how many cases have an answer now.

        Runs on a timer's thread, off the launch path.
        """
        answered = [case for case in self.memory.due() if self._has_better(case)]
        for case in answered:
            self.memory.forget(case)
        if answered:
            self._on_better()
        return len(answered)

    def _has_better(self, case: TuningTask) -> bool:
        """Whether a case that got a weak choice would get another one now: its own, or a neighbour's."""
        if self.look_up(case) is not None:
            return True
        known, borrowed = self.memory.get(case), self.answers.lender.borrowed(case)
        return borrowed is not None and known is not None and borrowed.config != known.config

    def close(self) -> None:
        """Stop asking again, and close the store."""
        self.memory.close()
        self.ledger.flush()
        self.store.close()

    def _decide(self, case: TuningTask) -> Choice:
        default = case.kernel.default(case.problem, case.device)
        if case.kernel.name in self.settings.override:
            return Choice(overridden(case.kernel.name, default, self.settings.override[case.kernel.name]), "override")
        if self.settings.mode == "off":
            return Choice(default, "default")
        found, has_failed = self.answers.get(case)
        if found is not None and self.settings.mode == "tune" and not self.memory.has_rejected(case):
            # Where configs have come into the space since, they are tried, and raced against what was found.
            return (self._tune_in_call(case) if self.answers.remaining(case, found) else None) or found
        if found is None and self.settings.mode == "strict":
            raise MissError(
                f"Nothing is stored for {case}, and mode strict forbids to tune. Run: tunedb warm {case.kernel.name}, "
                "or call it once in mode tune."
            )
        # Where a config did not launch, tuning again would find the same one.
        if found is None and self.settings.mode == "tune" and not has_failed and not self.memory.has_rejected(case):
            found = self._tune_in_call(case)
            has_failed = case.key in self._failed
        choice = found or self.answers.lender.borrowed(case) or Choice(default, "default")
        return replace(choice, failed=True) if has_failed and found is None else choice

    def _tune_in_call(self, case: TuningTask) -> Choice | None:
        """Tune within what is left of the process's budget. Whatever goes wrong, the call goes on without it.

        But not with an error of the caller's own, which its launch would raise as well.
        """
        try:
            return self._tune(case, self._left, LogObserver(), look=True, in_call=True)
        except CallerError:
            raise
        except Exception as error:  # too little memory, or a fault of the kernel's own: not the caller's doing
            _log.warning("%s could not be tuned (%s: %s).", case.kernel.name, type(error).__name__, error)
            return None

    def _left(self) -> float:
        return self.settings.budget - self.spent.seconds

    def _tune(
        self, case: TuningTask, budget: Callable[[], float], observer: Observer, *, look: bool, in_call: bool
    ) -> Choice | None:
        """Sweep under the problem's lock, after another look at the store; None where no config came out of it."""
        from tunedb.tuner.problem_lock import single_flight  # here, because a hit needs no filelock

        if budget() <= 0:
            return None

        def meanwhile() -> tuple[bool, Choice | None]:
            """Whether another thread or process has left nothing to tune, and the choice that came out of it."""
            known = self.memory.get(case)
            if known is not None and not known.is_weak:
                return look, known
            found, has_failed = self.answers.get(case)
            if not look or found is None:
                return look and in_call and has_failed, found
            return not self.answers.remaining(case, found), found

        timeout = self.settings.lock_timeout
        with single_flight(self._locks, case.problem, case.device, timeout, lambda: meanwhile()[0]) as flight:
            is_done, found = meanwhile()
            if is_done:
                return found
            if not flight.held:
                _log.info("%s: another process is still tuning this problem.", case.kernel.name)
                return found if look else None
            with self._one_sweep:
                seconds = budget()  # what other threads have left of it
                if seconds <= 0:
                    return None
                start = self._monotonic()
                try:
                    sweep = self._sweep(case, seconds, observer, self.answers.prior(case, again=not look))
                finally:
                    self.answers.lender.forget(case)
                    if in_call:
                        self.spent.seconds += self._monotonic() - start
            if not self.store.is_written(sweep.uid):  # those who wait for it would find nothing, and sweep again
                flight.keep_until(partial(self.store.is_written, sweep.uid, try_again=True))
            if sweep.status == "failed":
                self._failed.add(case.key)
            if sweep.config is None:
                return None
            if look and found is not None and not sweep.complete:
                return found  # it may not have come to the config in use; the store ranks it behind as well
            return Choice(sweep.config, "sweep", sweep)

    def _run_sweep(self, case: TuningTask, budget: float, observer: Observer, prior: SweepHistory) -> Sweep:
        environment = self.answers.environment(case)
        assert case.index is not None  # nobody tunes for a device that is not here
        assert environment is not None
        with untraced(case.index):
            return run_sweep(
                case.kernel,
                case.problem,
                case.device,
                case.index,
                environment=environment,
                clock=partial(self.clock, case),
                recorder=self.store,
                observer=observer,
                budget=budget,
                monotonic=self._monotonic,
                prior=prior,
            )

    @contextlib.contextmanager
    def alone(self, case: TuningTask) -> Iterator[bool]:
        """Keep others from tuning this case meanwhile; whether that could be had, within the lock's timeout."""
        from tunedb.tuner.problem_lock import single_flight

        timeout = self.settings.lock_timeout
        with single_flight(self._locks, case.problem, case.device, timeout) as flight, self._one_sweep:
            yield flight.held


def _renew_all() -> None:
    for tuner in list(_tuners):
        tuner._renew()  # in a forked child: a sweep of the parent's would never end here


os.register_at_fork(after_in_child=_renew_all)


def _environment_of(index: int) -> Environment:
    return environment(device_of(index).backend, method_for(index))
