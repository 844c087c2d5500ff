"""The life of one call: what is remembered, what is stored, one sweep where nothing is, and the default."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from tunedb.bench import clock_for, method_for, untraced
from tunedb.device import Environment, device_of, environment
from tunedb.errors import MissError, SettingError, SweepError, TrialError
from tunedb.layers import Layers
from tunedb.ledger import Ledger
from tunedb.memory import Case, Choice, Memory
from tunedb.nearest import nearest
from tunedb.problem import Config, Problem
from tunedb.records import Sweep, now
from tunedb.settings import Settings
from tunedb.shelf import Shelf
from tunedb.sweep import LogObserver, Observer, run_sweep
from tunedb.tunable import Tunable

if TYPE_CHECKING:
    from tunedb.store import Store

_log = logging.getLogger("tunedb")
_T = TypeVar("_T")


class Tuner:
    """Finds the config for a call. One per process, made anew when the settings change.

    Everything that touches the world is handed in: the store, behind a shelf or bare; the folder of the lock files;
    the sweep of a case within a budget in seconds, told to an observer; the environment by device index; the clock.
    `on_better` is called when the store has come to answer what was answered by a default.
    """

    def __init__(
        self,
        settings: Settings,
        store: Layers | Shelf | Store,
        *,
        locks: Path,
        sweep: Callable[[Case, float, Observer], Sweep] | None = None,
        environment_of: Callable[[int], Environment] | None = None,
        on_better: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.store = store
        self.memory = Memory(self.refresh, monotonic)
        self.ledger = Ledger(store.add_served)
        self.spent = 0.0  # seconds of sweeping inside calls
        self._locks = locks
        self._sweep = sweep or self._run_sweep
        self._environment_of = environment_of or _environment_of
        self._on_better = on_better
        self._monotonic = monotonic

    def bind(self, kernel: Tunable, problem: Problem, index: int, load: Callable[[Config], _T]) -> tuple[Choice, _T]:
        """The choice for a call together with what `load` makes of its config, a compiled kernel say.

        A config that `load` refuses with TrialError is not used again in this process, and the next one is taken.
        Raises TrialError where the default itself is refused, and what `choose` raises.
        """
        case = Case(kernel, problem, device_of(index), index)
        while True:
            choice = self.choose(kernel, problem, index)
            try:
                return choice, load(choice.config)
            except TrialError as error:
                if choice.is_weak or not self.memory.reject(case, choice.config):
                    raise
                _log.warning("%s: config %s does not launch (%s); taking the next.", kernel.name, choice.config, error)

    def choose(self, kernel: Tunable, problem: Problem, index: int) -> Choice:
        """The choice for a call; sweeps where the store has no answer and the mode allows it.

        Raises MissError in mode `strict` where nothing is stored, SettingError for an override that can't be used.
        """
        case = Case(kernel, problem, device_of(index), index)
        known = self.memory.get(case)
        if known is not None:
            return Choice(known.config, "memory", known.sweep)
        choice = self._decide(case)
        self.ledger.count(case, choice)
        self.memory.put(case, choice, ask_again=self.settings.mode != "off")
        return choice

    def look_up(self, case: Case) -> Choice | None:
        """What the store answers, without tuning and without remembering: a choice from `store` or `stale`, or None.

        On a device that is not here nothing is stale.
        """
        return self._winner(case, self._stored(case))

    def warm(
        self, case: Case, *, force: bool = False, budget: float = float("inf"), observer: Observer | None = None
    ) -> Choice | None:
        """Tune a case ahead of its calls, unless the store has its config; with `force`, tune again.

        None where no config came out of it: the candidates all failed, or another process holds the problem's lock.
        """
        spent = self.spent
        try:
            choice = self._tune(case, budget, observer or LogObserver(), look=not force)
        finally:
            self.spent = spent  # the budget is for sweeps inside calls
        if choice is not None:
            self.memory.put(case, choice, ask_again=False)
            self._on_better()
        return choice

    def refresh(self) -> int:
        """Look again for what got a default a while ago; returns how many cases have an answer now.

        Runs on a timer's thread, off the launch path.
        """
        answered = [case for case in self.memory.due() if self.look_up(case) is not None]
        for case in answered:
            self.memory.forget(case)
        if answered:
            self._on_better()
        return len(answered)

    def close(self) -> None:
        """Stop asking again, and close the store."""
        self.memory.close()
        self.ledger.flush()
        self.store.close()

    def _decide(self, case: Case) -> Choice:
        default = case.kernel.default(case.problem, case.device)
        if case.kernel.name in self.settings.override:
            return Choice(_overridden(case, default, self.settings.override[case.kernel.name]), "override")
        if self.settings.mode == "off":
            return Choice(default, "default")
        sweeps = self._stored(case)
        found = self._winner(case, sweeps)
        if found is None and self.settings.mode == "strict":
            raise MissError(
                f"Nothing is stored for {case}, and mode strict forbids to tune. Run: tunedb warm {case.kernel.name}"
            )
        if found is None and self.settings.mode == "tune" and not self._has_failed(case, sweeps):
            found = self._tune_in_call(case)
        return found or self._borrowed(case) or Choice(default, "default")

    def _stored(self, case: Case) -> list[Sweep]:
        return self.store.get_sweeps(case.problem, case.device, case.kernel.hash)

    def _winner(self, case: Case, sweeps: list[Sweep]) -> Choice | None:
        """The choice among stored sweeps: a config outside today's space, or refused here, is passed over."""
        from tunedb.store.ranking import winner  # here, because mode `off` needs no SQLAlchemy

        if not sweeps:
            return None
        space = set(case.kernel.space(case.problem, case.device))
        found = winner(
            sweeps,
            None if case.index is None else self._environment_of(case.index),
            lambda config: config in space and not self.memory.is_rejected(case, config),
            now(),
        )
        if found is None:
            return None
        sweep, source = found
        assert sweep.config is not None  # a winner is `tuned`, and the store holds no tuned sweep without a config
        return Choice(sweep.config, source, sweep)

    def _borrowed(self, case: Case) -> Choice | None:
        """The config of the nearest tuned problem, where one is near enough and its config is legal here."""
        tuned = self.store.get_kernel_sweeps(case.kernel.name, case.device, case.kernel.hash)
        if not tuned:
            return None
        space = set(case.kernel.space(case.problem, case.device))
        found = nearest(
            case.problem,
            self._winners(case, tuned),
            case.kernel.is_alike,
            lambda config: config in space and not self.memory.is_rejected(case, config),
        )
        if found is None or found[0].config is None:
            return None
        return Choice(found[0].config, "nearest", found[0])

    def _winners(self, case: Case, sweeps: list[Sweep]) -> list[Sweep]:
        """The sweep that answers for each problem among those of a kernel on a device."""
        from tunedb.store.ranking import winner

        problems: dict[str, list[Sweep]] = defaultdict(list)
        for sweep in sweeps:
            problems[sweep.problem.key].append(sweep)
        environment = None if case.index is None else self._environment_of(case.index)
        found = (winner(group, environment, now=now()) for group in problems.values())
        return [one[0] for one in found if one is not None]

    def _has_failed(self, case: Case, sweeps: list[Sweep]) -> bool:
        from tunedb.store.ranking import has_failed

        return has_failed(sweeps, None if case.index is None else self._environment_of(case.index), now())

    def _tune_in_call(self, case: Case) -> Choice | None:
        """Tune within what is left of the process's budget; too little memory, say, means the default and no error."""
        budget = self.settings.budget - self.spent
        if budget <= 0:
            return None
        try:
            return self._tune(case, budget, LogObserver(), look=True)
        except (torch.OutOfMemoryError, MemoryError, SweepError) as error:
            _log.warning("%s could not be tuned (%s); using the default.", case.kernel.name, error)
            return None

    def _tune(self, case: Case, budget: float, observer: Observer, *, look: bool) -> Choice | None:
        """Sweep under the problem's lock, after another look at the store; None where no config came out of it."""
        from tunedb.lock import single_flight  # here, because a hit needs no filelock

        with single_flight(self._locks, case.problem, case.device, self.settings.lock_timeout) as held:
            known = self.memory.get(case)  # by another thread, while this one waited
            if known is None or known.is_weak:
                known = self.look_up(case)
            if known is not None and look:
                return known
            if not held:
                _log.info("%s: another process is still tuning this problem.", case.kernel.name)
                return None
            start = self._monotonic()
            try:
                sweep = self._sweep(case, budget, observer)
            finally:
                self.spent += self._monotonic() - start
            return None if sweep.config is None else Choice(sweep.config, "sweep", sweep)

    def _run_sweep(self, case: Case, budget: float, observer: Observer) -> Sweep:
        assert case.index is not None  # nobody tunes for a device that is not here
        with untraced(case.index):
            return run_sweep(
                case.kernel,
                case.problem,
                case.device,
                case.index,
                environment=self._environment_of(case.index),
                clock=clock_for,
                recorder=self.store,
                observer=observer,
                budget=budget,
            )


def _overridden(case: Case, default: Config, forced: Config) -> Config:
    unknown = sorted(set(forced.constants) - set(default))
    if unknown:
        raise SettingError(
            f"TUNEDB_OVERRIDE: {case.kernel.name} has no knob {', '.join(unknown)}. Its knobs are {', '.join(default)}."
        )
    return Config.of(**{**default, **forced})


def _environment_of(index: int) -> Environment:
    return environment(device_of(index).backend, method_for(index))
