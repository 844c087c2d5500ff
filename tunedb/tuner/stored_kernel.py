"""A kernel that is known only from what is stored, because no installed package registers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tunedb.core.declaration import dtype_name
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import MissError, SettingError
from tunedb.store.interface import SweepLists

NEWEST = 100  # sweeps, by their arrival, of which the one that began last is taken: an import brings old ones


class StoredKernel:
    """A kernel as its stored sweeps describe it: enough to look up and explain its sweeps.

    Its hash is the newest sweep's, its space all configs that were ever tried. A change of the source or of the
    configs since then can't be seen.
    """

    def __init__(self, newest: Sweep, problems: Sequence[Problem], tried: Sequence[Config]) -> None:
        self.name = newest.problem.kernel
        self.hash = newest.kernel_hash
        self.clock = SimpleNamespace(method=newest.environment.method) if newest.environment.has_own_benchmark else None
        self._problems = problems
        self._space = tuple(tried)

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Return the one stored problem that has these facts.

        Raises MissError if none has them, SettingError if several have, and for names that no stored problem has.
        """
        fitting = [problem for problem in self._problems if _has(problem, arguments)]
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
        """Return one of the space: which one was the default is not stored."""
        return self._space[0]

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Return True, as a decorated kernel does."""
        return True

    def workload(self, problem: Problem, index: int) -> Any:
        """Raise SettingError: there is no source to run."""
        raise SettingError(f"{self.name} is not installed, so it can't be run. Install the package that has it.")


def _has(problem: Problem, facts: Mapping[str, Any]) -> bool:
    """Say whether a problem has these facts, as it shows them; a dtype by any of its names."""
    own = problem.plain()
    return all(name in own and _name_of(own[name]) == _name_of(value) for name, value in facts.items())


def _name_of(value: object) -> object:
    return dtype_name(value) if isinstance(value, str) else value


def stored_kernel(stored: SweepLists, name: str) -> StoredKernel | None:
    """Return the kernel of that name, if a winner of it is stored."""
    if name not in stored.upkeep.kernels():
        return None
    newest = max(stored.iter_sweeps(kernel=name, latest=NEWEST), key=lambda sweep: sweep.started, default=None)
    if newest is None:  # none of them can be read
        return None
    return StoredKernel(newest, stored.upkeep.problems(name), stored.upkeep.tried_configs(name))
