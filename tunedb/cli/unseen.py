"""A kernel that the store knows and no installed package registers: of another machine, or of a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
from tunedb.store import Store


class UnseenKernel:
    """A kernel as far as stored sweeps describe it: enough to look up and to explain.

    Its hash is that of the newest sweep, and its space what was ever tried: whether the source or the list of configs
    has changed since can't be seen from here.
    """

    def __init__(self, name: str, sweeps: Sequence[Sweep]) -> None:
        self.name = name
        newest = max(sweeps, key=lambda sweep: sweep.started)
        self.hash = newest.kernel_hash
        # The method of tunedb.decorator.tuning.clock, which is not loaded for its name.
        own = newest.environment.method == "do_bench"
        self.clock = SimpleNamespace(method=newest.environment.method) if own else None
        self._problems = list(dict.fromkeys(sweep.problem for sweep in sweeps))
        tried = (config for sweep in sweeps for config in (sweep.config, *(trial.config for trial in sweep.trials)))
        self._space = tuple(dict.fromkeys(config for config in tried if config is not None))

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """The stored problem that has these facts. Raises SettingError where none has, or several have."""
        found = [one for one in self._problems if arguments.items() <= one.plain().items()]
        if len(found) == 1:
            return found[0]
        which = f"no stored problem has {dict(arguments)}" if not found else f"{len(found)} stored problems have that"
        raise SettingError(
            f"{self.name}: it is not installed, and {which}. Needed facts of one of these: "
            f"{'; '.join(map(str, (found or self._problems)[:5]))}."
        )

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Every config that was tried."""
        return self._space

    def default(self, problem: Problem, device: Device) -> Config:
        """The first of them."""
        return self._space[0]

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """As for a decorated kernel."""
        return True

    def workload(self, problem: Problem, index: int) -> Any:
        """It can't be run."""
        raise SettingError(f"{self.name} is not installed: it can be looked up, and not be run.")


def unseen(store: Store | None, name: str) -> UnseenKernel | None:
    """The kernel of that name, if the store knows it."""
    sweeps = [] if store is None else list(store.iter_sweeps(kernel=name, with_trials=True))
    return UnseenKernel(name, sweeps) if any(sweep.config is not None for sweep in sweeps) else None
