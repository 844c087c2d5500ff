"""Hints in use: a sweep tries them early, and a call that may not tune gets one if nothing measured is near."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

from tunedb.core.device import Environment
from tunedb.core.hint import Candidates, Hint, facts_to_compare, short_facts
from tunedb.core.known_devices import device_label
from tunedb.core.problem import Config
from tunedb.core.task import TuningTask
from tunedb.store.interface import SweepStore
from tunedb.tuner.borrowing import Borrowing
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache
from tunedb.tuner.nearest import MAX_DISTANCE, facts_distance

_WithFacts = tuple[Hint, dict[str, Any]]


class Hints(Borrowing):
    """The hints for a task, the nearest first. They are read from the store once in a while, not for each miss."""

    what = "its hints"

    def __init__(
        self,
        store: SweepStore,
        cache: ChoiceCache,
        environment_of: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(store, cache, environment_of, monotonic)
        self._recent: dict[tuple[str, str], tuple[float, list[_WithFacts]]] = {}  # with the time of reading

    def _nearest_first(self, task: TuningTask, *, serves: bool) -> Iterator[tuple[Hint, Config]]:  # noqa: ARG002 - a hint serves as far as it is tried
        """Yield the hints that are near the task's problem, each with the config of the space that it means.

        All of these may serve a call. Of equally near hints the one with more facts comes first, then the one that
        arrived last.
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
