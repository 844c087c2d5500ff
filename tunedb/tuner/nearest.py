"""Borrowing a config in a call: among the newest sweeps of the kernel on the device, that of the nearest problem."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING

from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, now
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.tuner.choice_cache import ASK_AGAIN, Choice, ChoiceCache, TuningTask
from tunedb.tuner.distance import distance, nearest

if TYPE_CHECKING:
    from tunedb.store import Store

LENDERS = 1000  # sweeps, the newest, among which a call looks
LIKELY = 3  # configs of near problems that a sweep tries first

_log = logging.getLogger("tunedb")


class NearestConfigs:
    """Finds what a call may borrow. What a kernel has in store is read once in a while, not for each miss."""

    def __init__(
        self,
        store: LayeredStore | GuardedStore | Store,
        memory: ChoiceCache,
        environment: Callable[[TuningTask], Environment | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._memory = memory
        self._environment = environment
        self._monotonic = monotonic
        self._lately: dict[tuple[str, str, str], tuple[float, list[Sweep]]] = {}

    def borrowed(self, case: TuningTask) -> Choice | None:
        """The config of the nearest tuned problem, where one is near enough and its config is legal here."""
        try:
            return self._borrowed(case)
        except Exception as error:  # a fault of the kernel's own, on facts of older rows say: not the caller's doing
            _log.warning("%s: nothing is borrowed (%s: %s).", case.kernel.name, type(error).__name__, error)
            return None

    def _borrowed(self, case: TuningTask) -> Choice | None:
        tuned = self._tuned_lately(case)
        if not tuned:
            return None
        from tunedb.store.ranking import winners  # here, because mode `off` needs no SQLAlchemy

        space = set(case.kernel.space(case.problem, case.device))
        found = nearest(
            case.problem,
            [sweep for sweep, _ in winners(tuned, self._environment(case), now())],
            case.kernel.is_alike,
            lambda config: config in space and not self._memory.is_rejected(case, config),
        )
        if found is None or found[0].config is None:
            return None
        return Choice(found[0].config, "nearest", found[0])

    def likely(self, case: TuningTask) -> list[Config]:
        """Configs of the nearest tuned problems, the nearest first, each once: worth trying early. Empty on failure."""
        try:
            near = [
                (far, sweep.uid, sweep.config)
                for sweep in self._tuned_lately(case)
                if sweep.config is not None and sweep.problem != case.problem and not sweep.is_quarantined
                and (far := distance(case.problem, sweep.problem)) is not None
            ]  # fmt: skip
        except Exception as error:  # as above: the sweep goes on without
            _log.warning("%s: no near problem is looked at (%s: %s).", case.kernel.name, type(error).__name__, error)
            return []
        return list(dict.fromkeys(config for *_, config in sorted(near, key=itemgetter(0, 1))))[:LIKELY]

    def forget(self, case: TuningTask) -> None:
        """Read again what the case's kernel has in store: more of it was tuned."""
        self._lately.pop(self._key(case), None)

    @staticmethod
    def _key(case: TuningTask) -> tuple[str, str, str]:
        return case.kernel.name, case.kernel.hash, case.device.digest

    def _tuned_lately(self, case: TuningTask) -> list[Sweep]:
        key = self._key(case)
        read, sweeps = self._lately.get(key, (float("-inf"), []))
        if self._monotonic() - read >= ASK_AGAIN:
            sweeps = self._store.get_kernel_sweeps(case.kernel.name, case.device, case.kernel.hash, LENDERS)
            self._lately[key] = self._monotonic(), sweeps
        return sweeps
