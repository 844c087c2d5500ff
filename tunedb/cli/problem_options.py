"""Problems as a user names them: by the options of `warm` and `lookup`, or as lines of a shapes file."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tunedb.cli.command import Command, with_parameters
from tunedb.core.problem import parse_json
from tunedb.errors import IdentityError, SettingError

DEFAULT_KERNEL = "avg_pool1d"  # of a line that names none


def _option(kind: Any, *names: str, metavar: str | None = None, help: str) -> tuple[Any, None]:
    return Annotated[kind | None, typer.Option(*names, metavar=metavar, help=help, rich_help_panel="The problem")], None


_OPTIONS = {
    "shape": _option(str, "--shape", metavar="N,C,L", help="The input's shape, such as 64,128,65536; or C,L."),
    "kernel_size": _option(int, "--kernel-size", help="The window's length."),
    "stride": _option(int, "--stride", help="From one window to the next; kernel_size where it is not given."),
    "padding": _option(int, "--padding", help="Zeros at both ends of a row."),
    "dtype": _option(str, "--dtype", help="float32 where it is not given; float16, bfloat16, float64."),
    "ceil_mode": _option(bool, "--ceil-mode/--no-ceil-mode", help="Whether a last, overhanging window counts."),
    "count_include_pad": _option(
        bool, "--count-include-pad/--no-count-include-pad", help="Whether padding counts in the mean."
    ),
    "layout": _option(str, "--layout", help="rows (contiguous), or transposed: made as (N, L, C)."),
    "arg": _option(
        list[str],
        "--arg",
        metavar="NAME=VALUE",
        help="An argument of another package's kernel; may be repeated.",
    ),
}


def takes_problem(function: Command) -> Command:
    """Give a command the options of a problem. It gets those that the user gave as one mapping, `arguments`."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        arguments = {name: given.pop(name) for name in _OPTIONS}
        arguments = {name: value for name, value in arguments.items() if value is not None}
        if "shape" in arguments:
            arguments["shape"] = _shape(arguments["shape"])
        arguments |= _named(arguments.pop("arg", ()))
        function(arguments=arguments, **given)

    return with_parameters(wrapped, function, _OPTIONS, instead_of="arguments")


def _shape(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(f"--shape: found {text!r}, needed ints with commas between, such as 64,128,65536.") from None


def _named(texts: Iterable[str]) -> dict[str, Any]:
    """Names and values; these are JSON (1024, 0.5, true, null) or, failing that, strings such as float16."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise SettingError(f"--arg: found {text!r}, needed NAME=VALUE, such as columns=1024.")
        if name in found:
            raise SettingError(f"--arg: found {name} twice.")
        try:
            found[name] = parse_json(value)
        except IdentityError as error:
            if _is_json(value):
                raise SettingError(f"--arg: {name}: {error}") from None
            found[name] = value
    return found


def _is_json(text: str) -> bool:
    """Whether it is JSON, if only such as has no canonical form: NaN, or too large a number."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def as_options(arguments: Mapping[str, Any]) -> str:
    """The options that give these arguments, for a message that names a command."""
    words = []
    for name, value in arguments.items():
        option = name.replace("_", "-")
        if name not in _OPTIONS:
            words.append(f"--arg {name}={value if isinstance(value, str) else json.dumps(value)}")
        elif isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option} {','.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join(words)


def read_shapes(path: Path, default: str = DEFAULT_KERNEL) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The number of each line that is not blank, its kernel, or the default where it names none, and its arguments.

    Raises SettingError, with the line where there is one, for a file or a line that can't be read.
    """
    try:
        text = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode()
    except OSError as error:
        raise SettingError(f"Can't read {path}: {error.strerror}. Needed a file with one JSON object a line.") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"Can't read {path}: no UTF-8 at byte {error.start + 1}.") from None
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        with located(path, number):
            arguments = parse_json(line)
            if not isinstance(arguments, dict):
                raise SettingError("Found no JSON object.")
            kernel = arguments.pop("kernel", default)
        yield number, str(kernel), arguments
        found = True
    if not found:
        raise SettingError(f"{path} holds no problem. Needed a file with one JSON object a line.")


class located:  # noqa: N801 - reads as a statement: `with located(path, line):`
    """Name the line in an error about it."""

    def __init__(self, path: Path, number: int) -> None:
        self.place = f"{path} line {number}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SettingError | IdentityError):
            raise SettingError(f"{self.place}: {error}") from None
