"""Facts of a problem as `--where` names them: `kernel_size=8,dtype=float32`."""

from __future__ import annotations

from collections.abc import Mapping

from tunedb.cli.problem_options import value_of
from tunedb.core.declaration import dtype_name
from tunedb.core.problem import Problem
from tunedb.errors import SettingError
from tunedb.tuner.stored_names import no_facts


class Where:
    """The facts that problems are to have, as they were typed."""

    def __init__(self, wanted: Mapping[str, object]) -> None:
        self._wanted = wanted
        self._names: set[str] = set()  # of the facts of all problems that were asked about
        self._kernels: set[str] = set()

    def fits(self, problem: Problem) -> bool:
        """Say whether a problem has the facts."""
        facts = problem.plain()
        self._names.update(facts)
        self._kernels.add(problem.kernel)
        return all(name in facts and _is_same(facts[name], value) for name, value in self._wanted.items())

    def unknown(self) -> str | None:
        """Return a sentence about the names that no problem had which was asked about; None if there are none."""
        names = [name for name in self._wanted if name not in self._names]
        if not names or not self._kernels:
            return None
        return no_facts(next(iter(self._kernels)) if len(self._kernels) == 1 else None, names, self._names)


def read_where(text: str) -> Where:
    """Return the facts of a text, written as problems are printed. Raises SettingError."""
    wanted: dict[str, object] = {}
    for word in filter(None, text.replace(",", " ").split()):
        name, equals, value = word.partition("=")
        if not name or not equals or name in wanted:
            raise SettingError(
                f"--where: expected NAME=VALUE, each name once, with commas between, such as "
                f"kernel_size=8,dtype=float32; got {text!r}."
            )
        wanted[name] = value_of(f"--where: {name}", value)
    return Where(wanted)


def _is_same(fact: object, typed: object) -> bool:
    """Say whether a fact is what was typed: a dtype by any of its names, text also if it looks like a number."""
    if isinstance(fact, str):
        return dtype_name(fact) == dtype_name(str(typed))
    return (type(fact) is type(typed) and fact == typed) or (
        isinstance(fact, float) and type(typed) is int and fact == typed
    )
