"""Facts of a problem as `--where` names them: `kernel_size=8,dtype=float32`."""

from __future__ import annotations

from collections.abc import Callable

from tunedb.cli.problem_options import value_of
from tunedb.core.declaration import dtype_name
from tunedb.core.problem import Problem
from tunedb.errors import SettingError


def read_where(text: str) -> Callable[[Problem], bool]:
    """Return whether a problem has the facts of a text, written as problems are printed. Raises SettingError."""
    wanted: dict[str, object] = {}
    for word in filter(None, text.replace(",", " ").split()):
        name, equals, value = word.partition("=")
        if not name or not equals or name in wanted:
            raise SettingError(
                f"--where: expected NAME=VALUE, each name once, with commas between, such as "
                f"kernel_size=8,dtype=float32; got {text!r}."
            )
        wanted[name] = value_of(f"--where: {name}", value)

    def has_facts(problem: Problem) -> bool:
        facts = problem.plain()
        return all(name in facts and _is_same(facts[name], value) for name, value in wanted.items())

    return has_facts


def _is_same(fact: object, typed: object) -> bool:
    """Say whether a fact is what was typed: a dtype by any of its names, text also if it looks like a number."""
    if isinstance(fact, str):
        return dtype_name(fact) == dtype_name(str(typed))
    return (type(fact) is type(typed) and fact == typed) or (
        isinstance(fact, float) and type(typed) is int and fact == typed
    )
