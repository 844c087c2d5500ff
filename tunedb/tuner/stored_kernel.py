"""A kernel that is known only from what is stored, because no installed package registers it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tunedb.core.declaration import dtype_name
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import MissError, SettingError
from tunedb.store.interface import SweepLists
from tunedb.tuner.stored_names import no_facts

MAX_NAMED = 5  # facts, and values of each, that a message names
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
        known = {name for problem in self._problems for name in problem}
        if unknown := [name for name in arguments if name not in known]:
            raise SettingError(no_facts(self.name, unknown, known))
        given = ", ".join(f"{name}={value}" for name, value in arguments.items()) or "these facts"
        if fitting:
            differing = [name for name in sorted(known) if not _is_shared(name, fitting)]
            which = f"stored problems have {given}" if arguments else "of its problems are stored"
            raise SettingError(
                f"{self.name} is not installed, and {len(fitting)} {which}. Name one by: {_values(fitting, differing)}."
            )
        raise MissError(
            f"{self.name} is not installed, and no stored problem has {given}. "
            f"Stored: {_values(self._problems, arguments)}."
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


def _is_shared(name: str, problems: Sequence[Problem]) -> bool:
    """Say whether all problems have the same value of a fact, or none."""
    return len({repr(problem.plain()[name]) if name in problem else "" for problem in problems}) == 1


def _values(problems: Sequence[Problem], names: Iterable[str]) -> str:
    """Return which values the problems have of some facts: no more facts and values than fit a line."""
    parts = []
    for name in itertools.islice(names, MAX_NAMED):
        values = sorted({str(plain[name]) for problem in problems if name in (plain := problem.plain())}, key=_order)
        more = f" and {len(values) - MAX_NAMED} more" if len(values) > MAX_NAMED else ""
        parts.append(f"{name}={' or '.join(values[:MAX_NAMED])}{more}")
    return "; ".join(parts)


def _order(value: str) -> tuple[int, str]:
    return (len(value), value) if value.isdecimal() else (0, value)


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
