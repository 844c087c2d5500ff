"""Look-ups in the store: the config that answers a task, and the earlier trials that a sweep of it may use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from tunedb.core.device import Environment, host
from tunedb.core.problem import Config
from tunedb.core.sweep import Layer, Sweep, TrialStatus, now
from tunedb.core.task import Choice, TuningTask
from tunedb.store.interface import SweepStore
from tunedb.store.ranking import has_failed, obstacle, winner
from tunedb.tuner.choice_cache import ChoiceCache
from tunedb.tuner.hints import Hints
from tunedb.tuner.nearest import NearestNeighbors
from tunedb.tuner.siblings import Siblings

if TYPE_CHECKING:
    from tunedb.sweep.history import SweepHistory


class Answer(NamedTuple):
    """The store's answer: a choice from `store` or `stale`, if any, and whether the task failed here not long ago."""

    choice: Choice | None
    has_failed: bool = False


def wrong_configs(
    store: SweepStore, task: TuningTask, environment: Environment | None, sweeps: Iterable[Sweep]
) -> Collection[Config]:
    """Return the configs that a sweep found wrong for the task here, where `sweeps` are its stored ones.

    None of another machine's device was tried. The trials are read only if a sweep counts a wrong one.
    """
    found = any(sweep.environment == environment and sweep.counts.get(TrialStatus.WRONG) for sweep in sweeps)
    if environment is None or not found:
        return ()
    return store.get_wrong_configs(task.problem, task.device, task.kernel.hash, environment)


class Lookup:
    """Look-ups of tasks in the store, without the configs that do not launch in this process."""

    def __init__(
        self,
        store: SweepStore,
        cache: ChoiceCache,
        environment_of: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._cache = cache
        self.environment = environment_of
        self.neighbors = NearestNeighbors(store, cache, self.environment, monotonic)
        self.siblings = Siblings(store, cache, self.environment, monotonic)
        self.hints = Hints(store, cache, self.environment, monotonic)

    def get(self, task: TuningTask) -> Answer:
        """Return the store's answer to a task."""
        sweeps = self._store.get_sweeps(task.problem, task.device, task.kernel.hash)
        if not sweeps:
            return Answer(None)
        environment = self.environment(task)
        return Answer(self._winner(task, sweeps, environment), has_failed(sweeps, environment, now(), host()))

    def _winner(self, task: TuningTask, sweeps: list[Sweep], environment: Environment | None) -> Choice | None:
        """Return the best stored choice; skips configs that are outside today's space or rejected in this process."""
        space = set(task.kernel.space(task.problem, task.device))
        best = winner(
            sweeps,
            environment,
            lambda config: config in space and not self._cache.is_rejected(task, config),
            now(),
            wrong_configs(self._store, task, environment, sweeps),
        )
        if best is None:
            return None
        sweep, source = best
        assert sweep.config is not None  # a winner is `tuned`, and the store holds no tuned sweep without a config
        return Choice(sweep.config, source, sweep)

    def remaining(self, task: TuningTask, choice: Choice) -> list[Config]:
        """Return the configs that came into the space since the answer's sweep: they are tried although it answers.

        Empty for an answer that is pinned, stale or cut short by its budget, and for one of a bundle, which counts as
        covering the space though its other trials stayed where it was tuned. Trials of another environment do not
        count, nor do those that only a shared store has.
        """
        answer = choice.sweep
        if answer is None or answer.layer is Layer.BUNDLE:
            return []
        if choice.source != "store" or not answer.complete or answer.is_pinned:
            return []
        environment = self.environment(task)
        if environment is not None and answer.environment != environment:
            return []  # it was confirmed in this one, which counts as covering the space too
        space = task.kernel.space(task.problem, task.device)
        default = task.kernel.default(task.problem, task.device)
        # The answer's own trials first: they mostly cover the space, and then nothing else need be read.
        tried = {trial.config.key for trial in answer.trials} or self._store.get_tried_keys(answer.uid)
        if not tried or all(config.key in tried or config == choice.config for config in space):
            return []
        from tunedb.sweep.history import remaining_configs  # here, because a hit needs no part of a sweep

        stored = self._store.get_sweeps(task.problem, task.device, task.kernel.hash)
        same = self._with_trials(
            sweep
            for sweep in stored
            if sweep.environment == environment
            and (sweep.leaves_its_store or (sweep.origin, sweep.host) == ("local", host()))
        )
        return remaining_configs(space, default, choice.config, [*stored, *same])

    def _remaining_without_answer(self, task: TuningTask, environment: Environment) -> list[Config]:
        """Return the untried configs if no stored winner is in the space; empty if there is another obstacle."""
        from tunedb.sweep.history import remaining_configs

        stored = [
            sweep
            for sweep in self._store.get_sweeps(task.problem, task.device, task.kernel.hash)
            if sweep.environment == environment and sweep.complete and obstacle(sweep, lambda _: True, now()) is None
        ]
        space = task.kernel.space(task.problem, task.device)
        default = task.kernel.default(task.problem, task.device)
        return remaining_configs(space, default, None, self._with_trials(stored))

    def _with_trials(self, sweeps: Iterable[Sweep]) -> list[Sweep]:
        return [sweep for page in self._store.get_whole([sweep.uid for sweep in sweeps]) for sweep in page]

    def unmeasured(self, task: TuningTask) -> Choice | None:
        """Return a config that was not measured here for this problem: the nearest's, a sibling device's, a hint's."""
        return self.neighbors.choice(task) or self.siblings.choice(task) or self.hints.choice(task)

    def history(
        self, task: TuningTask, *, whole_space: bool = False, builds_on: Collection[str] | None = None
    ) -> SweepHistory:
        """Return the history that a sweep of the task builds on. Empty if the store fails.

        With `whole_space` the sweep tries every config, also those that stored trials cover. `builds_on` limits the
        unfinished sweeps whose trials count to those with these uids.
        """
        from tunedb.sweep.history import SweepHistory

        environment, choice = self.environment(task), self.get(task).choice
        assert environment is not None  # only tasks on a device of this process are swept
        if whole_space:
            remaining = []
        elif choice is None:
            remaining = self._remaining_without_answer(task, environment)
        else:
            remaining = self.remaining(task, choice)
        unfinished = self._store.get_unfinished(task.problem, task.device, task.kernel.hash, environment)
        return SweepHistory(
            incumbent=None if choice is None else choice.config,
            likely=[
                config for near in (self.neighbors, self.siblings, self.hints) for config in near.likely_configs(task)
            ],
            unfinished=[sweep for sweep in unfinished if builds_on is None or sweep.uid in builds_on],
            remaining=remaining,
        )
