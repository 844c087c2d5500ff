"""The life of one call: what is remembered, what is stored, one sweep where nothing is, and the default."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from tunedb.bench import clock_for, method_for, untraced
from tunedb.device import Device, Environment, device_of, environment
from tunedb.errors import MissError, SettingError, SweepError, TrialError
from tunedb.problem import Config, Problem
from tunedb.records import Sweep, now
from tunedb.settings import Settings
from tunedb.shelf import Shelf
from tunedb.sweep import LogObserver, Observer, run_sweep
from tunedb.tunable import Tunable

if TYPE_CHECKING:
    from tunedb.store import Store

ASK_AGAIN = 60.0  # seconds after which a default is looked up again, off the launch path

_log = logging.getLogger("tunedb")
_T = TypeVar("_T")
_Key = tuple[str, str, str]  # kernel, problem key, device digest


@dataclass(frozen=True, slots=True)
class Choice:
    """The config that a call gets, and its source: memory, store, stale, default, sweep or override."""

    config: Config
    source: str
    sweep: Sweep | None = None  # the sweep behind it; None for a default or an override

    @property
    def is_weak(self) -> bool:
        """Whether a better answer may appear in the store: true of a default."""
        return self.source == "default"


class Tuner:
    """Finds the config for a call. One per process, made anew when the settings change.

    Everything that touches the world is handed in: the store, behind a shelf or bare; the sweep, which takes a
    kernel, a problem, a device, its index, a budget in seconds and an observer, and returns the finished sweep; the
    clock. `on_better` is called when the store
    has come to answer what was answered by a default.
    """

    def __init__(
        self,
        settings: Settings,
        store: Shelf | Store,
        *,
        locks: Path,
        sweep: Callable[[Tunable, Problem, Device, int, float, Observer], Sweep] | None = None,
        environment_of: Callable[[int], Environment] | None = None,
        on_better: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.store = store
        self.spent = 0.0  # seconds of sweeping inside calls
        self._locks = locks
        self._sweep = sweep or self._run_sweep
        self._environment_of = environment_of or _environment_of
        self._on_better = on_better
        self._monotonic = monotonic
        self._memory: dict[_Key, Choice] = {}
        self._weak: dict[_Key, tuple[Tunable, Problem, int, float]] = {}
        self._rejected: dict[_Key, set[Config]] = {}
        self._timer: threading.Timer | None = None

    def bind(self, kernel: Tunable, problem: Problem, index: int, load: Callable[[Config], _T]) -> tuple[Choice, _T]:
        """The choice for a call together with what `load` makes of its config, a compiled kernel say.

        A config that `load` refuses with TrialError is not used again in this process, and the next one is taken.
        Raises TrialError where the default itself is refused, and MissError in mode `strict`.
        """
        key = (kernel.name, problem.key, device_of(index).digest)
        rejected = self._rejected.setdefault(key, set())
        while True:
            choice = self.choose(kernel, problem, index)
            try:
                return choice, load(choice.config)
            except TrialError as error:
                if choice.config in rejected or choice.is_weak:
                    raise
                _log.warning("%s: config %s does not launch (%s); taking the next.", kernel.name, choice.config, error)
                rejected.add(choice.config)
                self._memory.pop(key, None)

    def choose(self, kernel: Tunable, problem: Problem, index: int) -> Choice:
        """The choice for a call; sweeps where the store has no answer and the mode allows it.

        Raises MissError in mode `strict` where nothing is stored, SettingError for an override that can't be used.
        """
        device = device_of(index)
        key = (kernel.name, problem.key, device.digest)
        known = self._memory.get(key)
        if known is not None:
            return Choice(known.config, "memory", known.sweep)
        choice = self._decide(kernel, problem, device, index)
        self._remember(key, choice, kernel, problem, index)
        return choice

    def look_up(self, kernel: Tunable, problem: Problem, device: Device, index: int | None) -> Choice | None:
        """What the store answers, without tuning and without remembering: a choice from `store` or `stale`, or None.

        `index` is None for a device that is not here: then nothing can be stale.
        """
        return self._stored(kernel, problem, device, index)

    def warm(
        self,
        kernel: Tunable,
        problem: Problem,
        index: int,
        *,
        force: bool = False,
        budget: float = float("inf"),
        observer: Observer | None = None,
    ) -> Choice | None:
        """Tune a problem ahead of its calls, unless the store has its config; with `force`, tune again.

        None where no config came out of it: the candidates all failed, or another process holds the problem's lock.
        """
        device = device_of(index)
        spent = self.spent
        try:
            choice = self._tune(kernel, problem, device, index, budget, observer or LogObserver(), look=not force)
        finally:
            self.spent = spent  # the budget is for sweeps inside calls
        if choice is not None:
            self._memory[kernel.name, problem.key, device.digest] = choice
            self._on_better()
        return choice

    def refresh(self) -> int:
        """Look again for what was answered by a default a while ago; returns how many have an answer now.

        Runs on a timer's thread, off the launch path.
        """
        answered = 0
        for key, (kernel, problem, index, since) in list(self._weak.items()):
            if self._monotonic() - since < ASK_AGAIN:
                continue
            if self._stored(kernel, problem, device_of(index), index) is None:
                self._weak[key] = (kernel, problem, index, self._monotonic())
                continue
            self._weak.pop(key, None)
            self._memory.pop(key, None)
            answered += 1
        if answered:
            self._on_better()
        return answered

    def close(self) -> None:
        """Stop the timer, and write what waits to be written."""
        if self._timer is not None:
            self._timer.cancel()
        self._weak.clear()
        self.store.close()

    def _decide(self, kernel: Tunable, problem: Problem, device: Device, index: int) -> Choice:
        default = kernel.default(problem, device)
        if kernel.name in self.settings.override:
            return Choice(_overridden(kernel.name, default, self.settings.override[kernel.name]), "override")
        if self.settings.mode == "off":
            return Choice(default, "default")
        from tunedb.store.ranking import has_failed

        sweeps = self.store.get_sweeps(problem, device, kernel.hash)
        stored = self._winner(sweeps, kernel, problem, device, index)
        if stored is not None:
            return stored
        if self.settings.mode == "strict":
            raise MissError(
                f"Nothing is stored for {kernel.name} ({problem}) on {device}, and mode strict forbids to tune. "
                f"Run: tunedb warm {kernel.name}"
            )
        may_tune = self.settings.mode == "tune" and self._budget() > 0
        if not may_tune or has_failed(sweeps, self._environment_of(index), now()):
            return Choice(default, "default")
        return self._tune_in_call(kernel, problem, device, index) or Choice(default, "default")

    def _stored(self, kernel: Tunable, problem: Problem, device: Device, index: int | None) -> Choice | None:
        return self._winner(self.store.get_sweeps(problem, device, kernel.hash), kernel, problem, device, index)

    def _winner(
        self, sweeps: list[Sweep], kernel: Tunable, problem: Problem, device: Device, index: int | None
    ) -> Choice | None:
        """The choice among stored sweeps: a config outside today's space, or refused here, is passed over."""
        from tunedb.store.ranking import winner  # here, as below: mode `off` needs no SQLAlchemy, a hit no filelock

        if not sweeps:
            return None
        usable = set(kernel.space(problem, device)) - self._rejected.get(
            (kernel.name, problem.key, device.digest), set()
        )
        environment = None if index is None else self._environment_of(index)
        found = winner(sweeps, environment, lambda config: config in usable, now())
        if found is None:
            return None
        sweep, source = found
        assert sweep.config is not None  # a winner is `tuned`, and the store holds no tuned sweep without a config
        return Choice(sweep.config, source, sweep)

    def _budget(self) -> float:
        return self.settings.budget - self.spent

    def _tune_in_call(self, kernel: Tunable, problem: Problem, device: Device, index: int) -> Choice | None:
        """Tune within the budget of this process; too little memory, say, means the default and no error."""
        try:
            return self._tune(kernel, problem, device, index, self._budget(), LogObserver())
        except Exception as error:
            if not _is_recoverable(error):
                raise
            _log.warning("%s could not be tuned (%s); using the default.", kernel.name, error)
            return None

    def _tune(
        self,
        kernel: Tunable,
        problem: Problem,
        device: Device,
        index: int,
        budget: float,
        observer: Observer,
        *,
        look: bool = True,
    ) -> Choice | None:
        """Sweep under the problem's lock, after another look at the store; None where no config came out of it."""
        from tunedb.lock import single_flight

        with single_flight(self._locks, problem, device, self.settings.lock_timeout) as held:
            known = self._memory.get((kernel.name, problem.key, device.digest))
            if known is None or known.is_weak:
                known = self._stored(kernel, problem, device, index)
            if known is not None and look:
                return known
            if not held:
                _log.info("%s: another process is still tuning this problem.", kernel.name)
                return None
            start = self._monotonic()
            try:
                sweep = self._sweep(kernel, problem, device, index, budget, observer)
            finally:
                self.spent += self._monotonic() - start
            return None if sweep.config is None else Choice(sweep.config, "sweep", sweep)

    def _run_sweep(
        self, kernel: Tunable, problem: Problem, device: Device, index: int, budget: float, observer: Observer
    ) -> Sweep:
        with untraced(index):
            return run_sweep(
                kernel, problem, device, index, environment=self._environment_of(index), clock=clock_for,
                recorder=self.store, observer=observer, budget=budget,
            )  # fmt: skip

    def _remember(self, key: _Key, choice: Choice, kernel: Tunable, problem: Problem, index: int) -> None:
        self._memory[key] = choice
        if choice.is_weak and self.settings.mode != "off":
            self._weak[key] = (kernel, problem, index, self._monotonic())
            if self._timer is None or not self._timer.is_alive():
                self._arm()

    def _arm(self) -> None:
        self._timer = threading.Timer(ASK_AGAIN, self._refresh_and_rearm)
        self._timer.daemon = True
        self._timer.start()

    def _refresh_and_rearm(self) -> None:
        self.refresh()
        if self._weak:
            self._arm()


def _overridden(kernel: str, default: Config, forced: Config) -> Config:
    unknown = sorted(set(forced.constants) - set(default))
    if unknown:
        raise SettingError(
            f"TUNEDB_OVERRIDE: {kernel} has no knob {', '.join(unknown)}. Its knobs are {', '.join(default)}."
        )
    return Config.of(**{**default, **forced})


def _is_recoverable(error: Exception) -> bool:
    """Whether a sweep that raised this leaves the call able to go on with the default: too little memory, mostly."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError | TrialError | SweepError)


def _environment_of(index: int) -> Environment:
    return environment(device_of(index).backend, method_for(index))
