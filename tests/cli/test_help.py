"""The help of every command on a terminal of 80 columns: no list of choices is broken, and no flag shows a type."""

from __future__ import annotations

import enum
import inspect
import re
from typing import Any, get_args, get_type_hints

import pytest
import typer

from tests.cli.conftest import Cli
from tests.cli.test_command import ALL
from tunedb.cli import app
from tunedb.cli.commands import COMMANDS


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def command_of(path: tuple[str, ...]) -> Any:
    """The command as typer runs it."""
    found: Any = typer.main.get_command(app)
    for word in path:
        found = found.commands[word]
    return found


def choices_of(path: tuple[str, ...]) -> dict[str, list[str]]:
    """The choices of a command's parameters by name."""
    function = COMMANDS[" ".join(path)].function
    hints = get_type_hints(function)
    kinds = {
        name: (hint, *get_args(hint)) for name, hint in hints.items() if name in inspect.signature(function).parameters
    }
    return {
        name: [str(one.value) for one in kind]
        for name, several in kinds.items()
        for kind in several
        if isinstance(kind, type) and issubclass(kind, enum.Enum)
    }


@pytest.mark.parametrize("path", [(), ("db",), *ALL], ids=" ".join)
def test_the_help_fits_80_columns(cli: Cli, path: tuple[str, ...]) -> None:
    out = cli(*path, "--help").out
    assert max(map(len, out.splitlines())) <= 80
    assert "bool" not in out
    assert re.findall(r"<[^>\s]*(?:\s|$)", out) == []  # no type is broken
    found = command_of(path)
    for parameter in found.get_params(typer.Context(found)):
        if parameter.metavar:
            assert parameter.metavar in out, parameter.name


@pytest.mark.parametrize("path", [path for path in ALL if choices_of(path)], ids=" ".join)
def test_every_choice_is_a_word_of_the_option_s_help(cli: Cli, path: tuple[str, ...]) -> None:
    out = cli(*path, "--help").out
    parameters = {parameter.name: parameter for parameter in command_of(path).params}
    for name, choices in choices_of(path).items():
        for choice in choices:
            word = re.compile(rf"(?<![\w-]){re.escape(choice)}(?![\w-])")
            assert word.search(parameters[name].help), (name, choice)
            assert word.search(out), (name, choice)
        assert "|".join(choices[:2]) not in out, name


def test_an_unknown_choice_is_answered_with_all_of_them(cli: Cli) -> None:
    answer = cli("ls", "--status", "done")
    assert answer.code == 2
    assert all(word in answer.err for word in ("running", "tuned", "failed", "aborted"))
    assert answer.err.count("\n") == 1


def test_the_help_of_a_kernel_s_options_has_no_type_for_flags(cli: Cli) -> None:
    out = cli("lookup", "avg_pool1d", "--help").out
    assert "--ceil-mode" in out
    assert "bool" not in out


@pytest.mark.parametrize("words", [words for words, command in COMMANDS.items() if command.takes_problem])
def test_the_options_of_a_kernel_are_written_in_full(cli: Cli, words: str) -> None:
    out = cli(*words.split(), "avg_pool1d", "--help").out
    assert "…" not in out
    assert re.search(r"--count-include-pad +Whether", out)
    assert "--no-count-include-pad" in out
    assert "--no-ceil-mode" not in out  # which is what it is by itself
