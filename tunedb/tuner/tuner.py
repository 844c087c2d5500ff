"""The tuner: serves a call with the remembered choice, the stored one, that of a new sweep, or the default."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tunedb.core.claim import LEASE_S
from tunedb.core.device import Environment
from tunedb.core.kernel import TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source, Sweep
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import MissError, TrialError
from tunedb.runtime.clock import Clock, clock_for
from tunedb.runtime.current_device import environment_of, placement_of
from tunedb.settings import Settings
from tunedb.store.interface import SweepStore
from tunedb.store.wait_budget import one_call
from tunedb.sweep.observer import LogObserver, Observer
from tunedb.tuner.choice_cache import ChoiceCache
from tunedb.tuner.lookup import Lookup
from tunedb.tuner.override import forced_config
from tunedb.tuner.sweeper import Spent, Sweeper
from tunedb.tuner.tuning_result import Swept, TuningResult
from tunedb.tuner.unhashed import choice_without_hash, fault_of
from tunedb.tuner.usage_counter import UsageCounter

_log = logging.getLogger("tunedb")
_T = TypeVar("_T")


class Tuner:
    """The tuner that finds the config for a call. One per process, made again when the settings change.

    store: where sweeps are kept; in a call a guarded one, so that its failures reach no caller.
    locks: the folder of the lock files.
    environment_of: returns a task's environment; None if this process does not have the device.
    clock: the clock by device index, for kernels that have none of their own.
    spent: the seconds spent sweeping inside calls, shared by the tuners of a process.
    lease: the seconds after which a claim passes on whose process is gone; it is renewed three times as often.
    owner: the name under which this process claims problems; by default, one that no other process has.
    supervised: whether another process notices which config ends this one, so that no record of it is needed.
    on_better: called if the store now has an answer for a task that the default served.
    """

    def __init__(
        self,
        settings: Settings,
        store: SweepStore,
        *,
        locks: Path,
        environment_of: Callable[[TuningTask], Environment | None] = environment_of,
        clock: Callable[[int], Clock] = clock_for,
        spent: Spent | None = None,
        supervised: bool = False,
        lease: float = LEASE_S,
        owner: str | None = None,
        on_better: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.store = store
        self.locks = locks
        self.spent = spent or Spent()
        self.cache = ChoiceCache(self.refresh, monotonic, on_better)
        self.usage = UsageCounter(store.add_usage)
        self.lookup = Lookup(store, self.cache, environment_of, monotonic)
        self._sweeper = Sweeper(
            settings, store, self.lookup, self.cache, locks=locks, clock=clock, spent=self.spent, supervised=supervised,
            lease=lease, owner=owner, on_late=self._forget, monotonic=monotonic,
        )  # fmt: skip
        self._on_better = on_better

    def bind(
        self,
        kernel: TunableKernel,
        problem: Problem,
        index: int,
        load: Callable[[Config], _T],
        on_failed: Callable[[Sweep], object] = lambda _: None,
    ) -> tuple[Choice, _T]:
        """Return the choice for a call, and what `load` makes of its config: a compiled kernel, say.

        If `load` raises TrialError, the config is not used again in this process, and the next one is taken.
        `on_failed` hears of this call's own sweep if every config failed in it, before the default is loaded.
        Raises TrialError if the default itself fails to load, and what `choose`, `load` and `on_failed` raise.
        """
        task = TuningTask(kernel, problem, placement_of(index))
        with one_call():
            while True:
                choice = self.choose(kernel, problem, index)
                if choice.failed is not None:
                    on_failed(choice.failed)
                try:
                    return choice, load(choice.config)
                except TrialError as error:
                    if choice.source == "default" or fault_of(kernel) or not self.cache.reject(task, choice.config):
                        raise
                    _log.warning(
                        "%s: %s does not launch (%s); taking the next.", kernel.name, choice.config, str(error)
                    )

    def choose(self, kernel: TunableKernel, problem: Problem, index: int) -> Choice:
        """Return the choice for a call; sweeps if the store has no answer and the mode allows it.

        Raises MissError in the strict modes if nothing is stored.
        """
        task = TuningTask(kernel, problem, placement_of(index))
        fault = fault_of(kernel)
        if fault is not None:
            return choice_without_hash(task, fault, self.settings)
        remembered = self.cache.get(task)
        if remembered is not None:
            return replace(remembered, source=Source.MEMORY)
        with one_call():
            choice = self._decide(task)
        self.usage.count(task, choice)
        self.cache.put(task, replace(choice, failed=None), ask_again=self.settings.mode != "off")
        return choice

    def _decide(self, task: TuningTask) -> Choice:
        default = task.kernel.default(task.problem, task.device)
        forced = forced_config(task.kernel.name, default, self.settings)
        if forced is not None:
            return Choice(forced, Source.OVERRIDE)
        if self.settings.mode == "off":
            return Choice(default, Source.DEFAULT)
        stored, has_failed = self.lookup.get(task)
        # If a config did not launch, tuning again would only find the same one.
        may_tune = self.settings.mode == "tune" and not self.cache.has_rejected(task)
        if stored is not None:
            # Configs that have come into the space since are tried, and raced against the stored one.
            if may_tune and self.lookup.remaining(task, stored):
                return self._sweeper.tune_in_call(task).choice or stored
            return stored
        if self.settings.is_strict:
            raise MissError(
                f"Nothing is stored for {task}, and mode {self.settings.mode} forbids tuning. "
                f"Run: tunedb warm {task.kernel.name}, or call it once in mode tune."
            )
        failed = None
        if may_tune and not has_failed:
            result = self._sweeper.tune_in_call(task)
            if result.choice is not None:
                return result.choice
            if isinstance(result, Swept) and result.has_failed:
                failed = result.sweep
        near = None if has_failed or failed else self.lookup.unmeasured(task)  # it failed too
        return near or Choice(default, Source.DEFAULT, failed=failed)

    def look_up(self, task: TuningTask) -> Choice | None:
        """Return what the store answers, without tuning and without remembering it: from `store` or `stale`, or None.

        Nothing is stale on a device that this process does not have.
        """
        return self.lookup.get(task).choice

    def predict(self, task: TuningTask) -> Choice:
        """Return the choice that a call in mode `read` gets, also on another machine's device. Remembers nothing."""
        near = self.look_up(task) or self.lookup.unmeasured(task)
        return near or Choice(task.kernel.default(task.problem, task.device), Source.DEFAULT)

    def warm(
        self, task: TuningTask, *, force: bool = False, budget: float = float("inf"), observer: Observer | None = None
    ) -> Choice | None:
        """Tune a task ahead of its calls, as `tune_ahead` does, and return the choice; None if there is no config.

        With `force` it starts from nothing.
        """
        builds_on = () if force else None
        return self.tune_ahead(task, force=force, builds_on=builds_on, budget=budget, observer=observer).choice

    def tune_ahead(
        self,
        task: TuningTask,
        *,
        force: bool = False,
        builds_on: Collection[str] | None = None,
        budget: float = float("inf"),
        observer: Observer | None = None,
        waits: bool = True,
        waited: float = 0.0,
    ) -> TuningResult:
        """Tune a task ahead of its calls, unless the store has its config; with `force`, tune it again.

        A task that another process has claimed is waited for, or, unless this one `waits`, Skipped at once: it then
        `is_claimed`, and tuning it again later finds the other's result, or that the claim is free. `waited` is for how
        many seconds it has been so: a sweep that failed elsewhere in that time is not tried again. The sweep builds on
        trials of unfinished sweeps: only of those with the uids of `builds_on`, if it is given.
        Raises what the kernel's workload and its clock raise.
        """
        result = self._sweeper.tune_ahead(
            task, force=force, builds_on=builds_on, budget=budget, observer=observer or LogObserver(), waits=waits,
            waited=waited,
        )  # fmt: skip
        if result.choice is not None:
            if result.choice.sweep is not None:
                self.store.copy_here(result.choice.sweep)
            self.cache.put(task, result.choice, ask_again=False)
            self._on_better()
        return result

    def alone(self, task: TuningTask) -> AbstractContextManager[bool]:
        """Keep others from tuning this task meanwhile; yields whether the lock was acquired within its timeout."""
        return self._sweeper.alone(task)

    def clock(self, task: TuningTask, index: int) -> Clock:
        """Return the clock of the task's kernel on the device of that index."""
        return self._sweeper.clock(task, index)

    def refresh(self) -> int:
        """Look up again the tasks that got a default a while ago; return how many have an answer now.

        Runs on a timer's thread, off the path of a call.
        """
        answered = [task for task in self.cache.due() if self._has_better(task)]
        for task in answered:
            self.cache.forget(task)
        if answered:
            self._on_better()
        return len(answered)

    def _has_better(self, task: TuningTask) -> bool:
        """Say whether a task that got a weak choice would get another one now: its own, a near problem's, a hint's."""
        self.store.refresh(task.problem, task.device, task.kernel.hash)  # another host may have published it since
        stored, has_failed = self.lookup.get(task)
        if stored is not None or has_failed:
            return stored is not None
        remembered, near = self.cache.get(task), self.lookup.unmeasured(task)
        return near is not None and remembered is not None and near.config != remembered.config

    def _forget(self, task: TuningTask) -> None:
        """Make the next call decide again: what served it so far is not what other processes use."""
        self.cache.forget(task)
        self._on_better()

    def close(self) -> None:
        """Stop the repeated look-ups, write the counts, and close the store."""
        self.cache.close()
        self.usage.flush()
        self.store.close()
