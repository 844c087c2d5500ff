"""The arguments that a decorated kernel's `arguments` function takes, declared for the command line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from tunedb.core.declaration import Argument, ArgumentType

_TYPES: dict[object, ArgumentType] = {int: "int", float: "float", bool: "bool", str: "str"}
_TYPES |= {kind.__name__: name for kind, name in _TYPES.items() if isinstance(kind, type)}  # annotations kept as text


def declared(parameters: Iterable[inspect.Parameter]) -> tuple[Argument, ...]:
    """Return the arguments of these parameters, their types as far as annotations and defaults give them."""
    return tuple(_declared(parameter) for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD)


def _declared(parameter: inspect.Parameter) -> Argument:
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    if parameter.name.endswith("dtype"):
        shown = None if default is None else str(default).removeprefix("torch.")
        return Argument(parameter.name, "str", "A torch dtype, such as float16.", shown, "DTYPE", required)
    type_ = _TYPES.get(parameter.annotation, "value")
    if type_ == "value" and isinstance(default, bool):
        type_ = "bool"
    help = "" if type_ != "value" else "JSON, or text: the kernel does not declare its type."
    return Argument(parameter.name, type_, help, default, "VALUE" if type_ == "value" else None, required)
