"""Options of a problem: made from what a kernel declares, read from the command line, and written into messages."""

from __future__ import annotations

import functools
import inspect
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args

import typer

from tunedb.cli import completion
from tunedb.cli.command import COMMON_FLAGS, Function, with_parameters
from tunedb.core.canonical import parse_json
from tunedb.core.declaration import Argument
from tunedb.errors import IdentityError, SettingError

KernelArgument = Annotated[
    str,
    typer.Argument(help="A kernel's name, followed by the options of its problem.", autocompletion=completion.kernels),
]

PANEL = "The problem"
_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool}  # all others are read as text
_PYTHONS = {"True": True, "False": False, "None": None}
_METAVARS = {"shape": "N,...", "value": "VALUE"}
_ARG = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="NAME=VALUE",
        help="An argument that has no option of its own; may be repeated. VALUE is JSON, or text.",
        rich_help_panel=PANEL,
    ),
]


def with_problem(function: Function, arguments: Sequence[Argument]) -> Function:
    """Return the function with an option for each argument. It gets those that were given as a mapping, `arguments`."""
    options = {f"argument_{argument.name}": argument for argument in offered(function, arguments)}

    @functools.wraps(function)
    def wrapped(*, arg: list[str] | None, **words: Any) -> None:
        values = {argument: words.pop(name) for name, argument in options.items()}
        problem = {argument.name: _value(argument, value) for argument, value in values.items() if value is not None}
        function(arguments=problem | _named(arg or ()), **words)

    added = {name: (_annotation(argument), None) for name, argument in options.items()}
    return with_parameters(wrapped, function, added | {"arg": (_ARG, None)}, instead_of="arguments")


def offered(function: Function, arguments: Iterable[Argument]) -> list[Argument]:
    """Return the arguments that get an option: those whose option the command does not use for itself."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    annotations = [parameter.annotation for parameter in parameters] + [flag for flag, _ in COMMON_FLAGS.values()]
    taken = {"--help", "--arg"}
    for annotation in annotations:
        for info in get_args(annotation)[1:]:  # typer keeps the first option of an annotation as its default
            words = (getattr(info, "default", None), *(getattr(info, "param_decls", None) or ()))
            taken.update(word for word in words if isinstance(word, str))
    return [argument for argument in arguments if option_of(argument) not in taken]


def option_of(argument: Argument) -> str:
    """Return the argument's option, such as `--kernel-size`."""
    return f"--{argument.name.replace('_', '-')}"


def as_options(arguments: Mapping[str, Any], declared: Iterable[Argument]) -> str:
    """Return the options that give these arguments, quoted so that a message with them can be pasted into a shell."""
    by_name = {argument.name: argument for argument in declared}
    words: list[str] = []
    for name, value in arguments.items():
        argument = by_name.get(name)
        if argument is None:
            words += ["--arg", f"{name}={_asvalue_of(value)}"]
        elif argument.type == "bool" and isinstance(value, bool):
            words.append(option_of(argument) if value else option_of(argument).replace("--", "--no-", 1))
        elif argument.type == "shape" and isinstance(value, list | tuple):
            words += [option_of(argument), ",".join(map(str, value))]
        else:
            words += [option_of(argument), value if argument.type == "str" else _asvalue_of(value)]
    return shlex.join(map(str, words))


def _annotation(argument: Argument) -> Any:
    option = option_of(argument)
    note = "" if argument.default is None else f"Default: {_asvalue_of(argument.default)}."
    parts = [argument.help, "Required." if argument.required else note]
    if argument.type == "bool":
        opposite = option.replace("--", "--no-", 1)
        option = f"{option}/{opposite}"
        if argument.default is not False:
            parts.append(f"If not: {opposite}.")
    text = " ".join(filter(None, parts))
    info = typer.Option(
        option, metavar=argument.metavar or _METAVARS.get(argument.type), help=text, rich_help_panel=PANEL
    )
    return Annotated[_TYPES.get(argument.type, str) | None, info]


def _value(argument: Argument, word: Any) -> Any:
    """Return the value of an option, which typer has converted if its type is int, float or bool."""
    if argument.type == "value":
        return value_of(f"{option_of(argument)}", word)
    if argument.type != "shape":
        return word
    try:
        return [int(part) for part in word.split(",")]
    except ValueError:
        raise SettingError(
            f"{option_of(argument)}: expected ints with commas between, such as 64,128,65536, got {word!r}."
        ) from None


def _named(words: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise SettingError(f"--arg: expected NAME=VALUE, such as columns=1024, got {word!r}.")
        if name in values:
            raise SettingError(f"--arg: {name} is given twice.")
        values[name] = value_of(f"--arg: {name}", text)
    return values


def value_of(option: str, text: str) -> Any:
    """Return the value of JSON text (1024, 0.5, true, null, "yes"); of other text, such as float16, the text itself.

    Python's True, False and None are taken too: that is how a problem is printed.
    """
    if text in _PYTHONS:
        return _PYTHONS[text]
    try:
        return parse_json(text)
    except IdentityError as error:
        if _is_json(text):  # but has no canonical form: NaN, or too large a number
            raise SettingError(f"{option}: {error}") from None
        return text


def _asvalue_of(value: Any) -> str:
    """Return the text that `value_of` reads as this value."""
    is_plain = isinstance(value, str) and not _is_json(value) and value not in _PYTHONS
    return value if is_plain else json.dumps(value, default=str)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
