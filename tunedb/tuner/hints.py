"""Hints in use: a sweep tries them early, and a call that may not tune gets one if nothing measured is near."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from tunedb._internal.control import let_pass
from tunedb.core.device import Environment
from tunedb.core.hint import Candidates, Hint, facts_to_compare, short_facts
from tunedb.core.known_devices import device_label
from tunedb.core.problem import Config
from tunedb.core.sweep import Source
from tunedb.core.task import Choice, TuningTask
from tunedb.store.interface import SweepStore
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache
from tunedb.tuner.nearest import MAX_DISTANCE, facts_distance

MAX_LIKELY = 3  # configs of hints that a sweep tries first: as many as of near problems

_WithFacts = tuple[Hint, dict[str, Any]]

_log = logging.getLogger("tunedb")


class Hints:
    """The hints for a task, the nearest first. They are read from the store once in a while, not for each miss."""

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
        self._recent: dict[tuple[str, str], tuple[float, list[_WithFacts]]] = {}  # with the time of reading

    def choice(self, task: TuningTask) -> Choice | None:
        """Return the config of the nearest hint, if one is near enough and its config is legal and not wrong here."""
        environment, wrong = self._environment_of(task), None
        for hint, config in self._usable(task):
            if wrong is None:
                wrong = () if environment is None else self._store.get_wrong_configs(
                    task.problem, task.device, task.kernel.hash, environment
                )  # fmt: skip
            if config not in wrong and not self._cache.is_rejected(task, config):
                return Choice(config, Source.HINT, hint=hint)
        return None

    def likely_configs(self, task: TuningTask) -> list[Config]:
        """Return the configs of the nearest hints that are in the space, each once: a sweep tries them early."""
        return list(dict.fromkeys(config for _, config in self._usable(task)))[:MAX_LIKELY]

    def _usable(self, task: TuningTask) -> list[tuple[Hint, Config]]:
        try:
            return list(self._nearest_first(task))
        # The kernel's own code may fail, and a hint may hold a dtype that this torch lacks: no caller's doing.
        except Exception as error:
            let_pass(error)
            _log.warning("%s: its hints can't be used (%s: %s).", task.kernel.name, type(error).__name__, str(error))
            return []

    def _nearest_first(self, task: TuningTask) -> Iterator[tuple[Hint, Config]]:
        """Yield the hints that are near the task's problem, each with the config of the space that it means.

        Of equally near hints the one with more facts comes first, then the one that arrived last.
        """
        near: list[tuple[float, int, int, Hint]] = []
        facts = short_facts(task.problem)
        for place, (hint, hint_facts) in enumerate(self._of_kernel(task)):
            compared = facts_to_compare(hint_facts, facts)
            far = None if compared is None else facts_distance(compared, facts)
            if far is not None and far <= MAX_DISTANCE:
                near.append((far, -len(hint_facts), place, hint))
        if not near:
            return
        candidates = Candidates(task.kernel.space(task.problem, task.device))
        for *_, hint in sorted(near, key=itemgetter(0, 1, 2)):
            config = candidates.find(hint.config)
            if config is not None:
                yield hint, config

    def _of_kernel(self, task: TuningTask) -> list[_WithFacts]:
        key = task.kernel.name, device_label(task.device.name)
        read_at, hints = self._recent.get(key, (float("-inf"), []))
        if self._monotonic() - read_at >= ASK_AGAIN_AFTER_S:
            hints = [(hint, short_facts(hint.problem)) for hint in self._store.get_hints(*key)]
            self._recent[key] = self._monotonic(), hints
        return hints
