"""The command line of `tunedb run`: where the program's words begin, and the options before them.

Options are read here without typer, which takes ten times as long to load as all else that a start needs. What this
does not understand, typer reads: it has the messages.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_FLAGS = {"--report": "report", "-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}
_VALUES = {
    "--only": "only", "--skip": "skip", "--record": "record", "-o": "output", "--output": "output",
    "--format": "format", "--store": "store",
}  # fmt: skip
_LISTS = ("only", "skip")
_FORMATS = ("table", "json")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return tunedb's options and the words of the program: a script and what follows it, or -m, -c or - likewise."""
    is_value = False
    for place, word in enumerate(words):
        if is_value:
            is_value = False
        elif word == "--":
            return list(words[:place]), list(words[place + 1 :])
        elif word == "-" or word[:1] != "-" or word[:2] in ("-m", "-c"):
            return list(words[:place]), list(words[place:])
        else:
            is_value = word in _VALUES
    return list(words), []


def read(options: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of options by the parameters of the command; None for what typer has to read."""
    values: dict[str, Any] = {}
    rest = list(options)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            values[_FLAGS[word]] = True
            continue
        if name not in _VALUES or (equals and not name.startswith("--")) or not (equals or rest):
            return None
        parameter = _VALUES[name]
        value = value if equals else rest.pop(0)
        if not value or (parameter == "format" and value not in _FORMATS):
            return None
        if parameter in _LISTS:
            values.setdefault(parameter, []).append(value)
        else:
            values[parameter] = value
    return values
