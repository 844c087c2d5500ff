"""Commands whose help shows no type for what takes no value, or whose name says what it is: flags and arguments.

typer shows `<bool>` for a flag, as if a value followed, and for an argument its type in Python. The help of every
command leaves these out; options that take a value name it by their `metavar`.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose help is like that."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters."""
        return without_types(super().get_params(ctx))


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
