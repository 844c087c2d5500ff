"""Commands whose help shows no type for what takes no value, or whose name says what it is: flags and arguments.

typer shows `<bool>` for a flag, as if a value followed, and for an argument its type in Python. The help of every
command leaves these out; options that take a value name it by their `metavar`. The opposite of a flag, `--no-...`, has
no column of its own, for which 80 are too few: the flag's text names it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose help is like that."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return without_types(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        with _without_opposites(self.params):
            super().format_help(ctx, formatter)


class PlainGroup(TyperGroup):
    """A group of commands, or the whole program, whose help is like that."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return without_types(super().get_params(ctx))


def without_types(parameters: list[Any]) -> list[Any]:
    """Return the parameters; of flags and arguments the help shows no type."""
    for one in parameters:
        if isinstance(one, TyperArgument):
            one.display_type_rich = lambda ctx: None  # type: ignore[method-assign]  # noqa: ARG005  # typer names it
        elif getattr(one, "is_flag", False) and one.metavar is None:
            one.metavar = ""
    return parameters


@contextlib.contextmanager
def _without_opposites(parameters: Sequence[Any]) -> Iterator[None]:
    """Let the flags have no second name that is the first one with `no-`."""
    opposites = [(one, names) for one in parameters if (names := getattr(one, "secondary_opts", None))]
    opposites = [(one, names) for one, names in opposites if names == [f"--no-{one.opts[0].removeprefix('--')}"]]
    for one, _ in opposites:
        one.secondary_opts = []
    try:
        yield
    finally:
        for one, names in opposites:
            one.secondary_opts = names
