"""A kernel that is known only from the store, because no installed package registers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import MissError, SettingError
from tunedb.store import Store


class StoredKernel:
    """A kernel as its stored sweeps describe it: enough to look up and explain its sweeps.

    Its hash is the newest sweep's, its space all configs that were ever tried. A change of the source or of the
    configs since then can't be seen.
    """

    def __init__(self, name: str, sweeps: Sequence[Sweep]) -> None:
        self.name = name
        newest = max(sweeps, key=lambda sweep: sweep.started)
        self.hash = newest.kernel_hash
        self.clock = SimpleNamespace(method=newest.environment.method) if newest.environment.has_own_benchmark else None
        self._problems = list(dict.fromkeys(sweep.problem for sweep in sweeps))
        tried = (config for sweep in sweeps for config in (sweep.config, *(trial.config for trial in sweep.trials)))
        self._space = tuple(dict.fromkeys(config for config in tried if config is not None))

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Return the one stored problem that has these facts.

        Raises MissError if none has them, SettingError if several have, and for names that no stored problem has.
        """
        fitting = [problem for problem in self._problems if arguments.items() <= problem.plain().items()]
        if len(fitting) == 1:
            return fitting[0]
        which = f"{len(fitting)} stored problems have" if fitting else "no stored problem has"
        known = {name for problem in self._problems for name in problem}
        raise (MissError if not fitting and known.issuperset(arguments) else SettingError)(
            f"{self.name} is not installed, and {which} {dict(arguments)}. Expected the facts of one of these: "
            f"{'; '.join(map(str, (fitting or self._problems)[:5]))}."
        )

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Return every config that was tried."""
        return self._space

    def default(self, problem: Problem, device: Device) -> Config:
        """Return the first config that was tried."""
        return self._space[0]

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Return True, as a decorated kernel does."""
        return True

    def workload(self, problem: Problem, index: int) -> Any:
        """Raise SettingError: there is no source to run."""
        raise SettingError(f"{self.name} is not installed, so it can't be run. Install the package that has it.")


def stored_kernel(store: Store | None, name: str) -> StoredKernel | None:
    """Return the kernel of that name, if the store has a winner of it."""
    sweeps = [] if store is None else list(store.iter_sweeps(kernel=name, with_trials=True))
    return StoredKernel(name, sweeps) if any(sweep.config is not None for sweep in sweeps) else None


def stored_names(store: Store, name: str) -> list[str]:
    """Return the names of stored kernels that end in this name, after a dot: those of other modules."""
    return [stored for stored in store.upkeep.kernels() if stored.endswith(f".{name}")]
