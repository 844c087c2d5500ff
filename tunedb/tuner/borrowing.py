"""Configs that were not measured here for a problem: how hints and the winners of sibling devices are used alike."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from tunedb._internal.control import let_pass
from tunedb.core.device import Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config
from tunedb.core.sweep import Source
from tunedb.core.task import Choice, TuningTask
from tunedb.store.interface import SweepStore
from tunedb.tuner.choice_cache import ChoiceCache

MAX_LIKELY = 3  # configs of each kind that a sweep tries first: as many as of near problems

_log = logging.getLogger("tunedb")


class Borrowing(ABC):
    """A source of configs that serve a call behind what was measured, and that a sweep tries early."""

    what: str  # for the log: what can't be used if the kernel's code fails on it

    def __init__(
        self,
        store: SweepStore,
        cache: ChoiceCache,
        environment_of: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._cache = cache
        self._environment_of = environment_of
        self._monotonic = monotonic

    @abstractmethod
    def _nearest_first(self, task: TuningTask, *, serves: bool) -> Iterator[tuple[Hint, Config]]:
        """Yield what is near a task, the nearest first, each with its config in the space.

        `serves`: only what is near enough to serve a call.
        """

    def choice(self, task: TuningTask) -> Choice | None:
        """Return the config of the nearest that is near enough to serve, if it is legal and was not wrong here."""
        environment, wrong = self._environment_of(task), None
        for hint, config in self._usable(task, serves=True):
            if wrong is None:
                wrong = () if environment is None else self._store.get_wrong_configs(
                    task.problem, task.device, task.kernel.hash, environment
                )  # fmt: skip
            if config not in wrong and not self._cache.is_rejected(task, config):
                return Choice(config, Source.HINT, hint=hint)
        return None

    def likely_configs(self, task: TuningTask) -> list[Config]:
        """Return the configs of the nearest that are in the space, each once: a sweep tries them early."""
        return list(dict.fromkeys(config for _, config in self._usable(task, serves=False)))[:MAX_LIKELY]

    def _usable(self, task: TuningTask, *, serves: bool) -> list[tuple[Hint, Config]]:
        try:
            return list(self._nearest_first(task, serves=serves))
        # The kernel's own code may fail on older facts, and a hint may hold a dtype that this torch lacks: no caller's
        # doing.
        except Exception as error:
            let_pass(error)
            _log.warning(
                "%s: %s can't be used (%s: %s).", task.kernel.name, self.what, type(error).__name__, str(error)
            )
            return []
