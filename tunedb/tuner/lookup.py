"""What the store knows of a case: the config that answers it, and what a sweep of it may build on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, now
from tunedb.runtime.clock import own_clock
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.sweep.history import SweepHistory, remaining, without_answer
from tunedb.tuner.choice_cache import Choice, ChoiceCache, TuningTask
from tunedb.tuner.nearest import NearestConfigs

if TYPE_CHECKING:
    from tunedb.store import Store


class Lookup:
    """Asks the store, and what this process remembers of configs that do not launch."""

    def __init__(
        self,
        store: LayeredStore | GuardedStore | Store,
        memory: ChoiceCache,
        environment_of: Callable[[int], Environment],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._memory = memory
        self._environment_of = environment_of
        self.lender = NearestConfigs(store, memory, self.environment, monotonic)

    def environment(self, case: TuningTask) -> Environment | None:
        """The environment in which the case's answers are valid; None for a device that is not here."""
        if case.index is None:
            return None
        found, own = self._environment_of(case.index), own_clock(case.kernel)
        return found if own is None else dataclasses.replace(found, method=own.method)

    def get(self, case: TuningTask) -> tuple[Choice | None, bool]:
        """What the store answers, and whether it says that the problem failed not long ago."""
        from tunedb.store.ranking import has_failed

        sweeps = self._store.get_sweeps(case.problem, case.device, case.kernel.hash)
        if not sweeps:
            return None, False
        return self._winner(case, sweeps), has_failed(sweeps, self.environment(case), now())

    def _winner(self, case: TuningTask, sweeps: list[Sweep]) -> Choice | None:
        """The choice among stored sweeps: a config outside today's space, or refused here, is passed over."""
        from tunedb.store.ranking import winner  # here, because mode `off` needs no SQLAlchemy

        space = set(case.kernel.space(case.problem, case.device))
        found = winner(
            sweeps,
            self.environment(case),
            lambda config: config in space and not self._memory.is_rejected(case, config),
            now(),
        )
        if found is None:
            return None
        sweep, source = found
        assert sweep.config is not None  # a winner is `tuned`, and the store holds no tuned sweep without a config
        return Choice(sweep.config, source, sweep)

    def remaining(self, case: TuningTask, found: Choice) -> list[Config]:
        """What is left to try although there is an answer, because configs have come into the space since.

        Empty for an answer that is pinned or stale, and for one that was cut short: that is as good as its budget was.
        Trials of another environment do not count, nor do those that only a shared store has.
        """
        answer = found.sweep
        if answer is None or found.source != "store" or not answer.complete or answer.is_pinned:
            return []
        space = case.kernel.space(case.problem, case.device)
        default = case.kernel.default(case.problem, case.device)
        whole = [answer] if answer.trials else self._whole([answer])
        if not any(sweep.trials for sweep in whole) or not remaining(space, default, found.config, whole):
            return []
        stored = self._store.get_sweeps(case.problem, case.device, case.kernel.hash)
        environment = self.environment(case)
        known = self._whole(sweep for sweep in stored if sweep.environment == environment)
        return remaining(space, default, found.config, [*stored, *known])

    def _without_winner(self, case: TuningTask, environment: Environment) -> list[Config]:
        """What is left to try where the only obstacle is that the winners are in the space no more; empty elsewhere."""
        from tunedb.store.ranking import obstacle

        stored = [
            sweep
            for sweep in self._store.get_sweeps(case.problem, case.device, case.kernel.hash)
            if sweep.environment == environment and sweep.complete and obstacle(sweep, lambda _: True, now()) is None
        ]
        space = case.kernel.space(case.problem, case.device)
        return without_answer(space, case.kernel.default(case.problem, case.device), self._whole(stored))

    def _whole(self, sweeps: Iterable[Sweep]) -> list[Sweep]:
        return [sweep for page in self._store.get_whole([one.uid for one in sweeps]) for sweep in page]

    def prior(self, case: TuningTask, *, again: bool = False) -> SweepHistory:
        """What a sweep of the case may build on; `again`, it tries the whole space. Empty where the store fails."""
        environment, known = self.environment(case), self.get(case)[0]
        assert environment is not None  # the device is here
        if again:
            left = []
        else:
            left = self._without_winner(case, environment) if known is None else self.remaining(case, known)
        unfinished = self._store.get_unfinished(case.problem, case.device, case.kernel.hash, environment)
        return SweepHistory(
            None if known is None else known.config,
            self.lender.likely(case),
            unfinished,
            left,
        )
