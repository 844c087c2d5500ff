"""Code of other packages that a command runs, and text in other encodings: the answer and the exit code stay right."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import pytest

from tests.cli.conftest import Cli, Kernel
from tunedb.cli.command import PLACES
from tunedb.cli.commands import COMMANDS
from tunedb.cli.exit_codes import FOUND, USAGE
from tunedb.core.problem import Problem

ASKED = ("pool", "--shape", "2,4", "--kernel-size", "2", "--format", "json")


@pytest.mark.parametrize("command", ["lookup", "explain", "warm"])
def test_what_a_kernel_prints_is_not_part_of_the_answer(
    command: str, cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Kernel.problem

    def problem(self: Kernel, arguments: Mapping[str, Any]) -> Problem:
        print("loud")
        return made(self, arguments)

    monkeypatch.setattr(Kernel, "problem", problem)
    answer = cli(command, *ASKED)
    assert answer.json in (None, []) or answer.json[0]["kernel"] == "pool"
    assert "loud" in answer.err


@pytest.mark.parametrize("code", [0, 1, 7, "bye\nbye", None])
@pytest.mark.usefixtures("kernels")
def test_a_kernel_that_exits_is_a_failure_of_the_command(
    code: object, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(self: Kernel, arguments: Mapping[str, Any]) -> Problem:
        raise SystemExit(code)

    monkeypatch.setattr(Kernel, "problem", problem)
    answer = cli("lookup", *ASKED)
    assert answer.code == FOUND
    assert answer.err.count("\n") == 1
    assert "ended this command" in answer.err


@pytest.mark.usefixtures("stored")
def test_text_that_the_locale_lacks_is_read_as_utf_8(cli: Cli) -> None:
    escaped = "é".encode().decode("ascii", "surrogateescape")  # what Python makes of it in a locale of ASCII
    assert cli("ls", "--kernel", escaped).code == 0
    assert "'é'" in cli("lookup", escaped).err
    for words in (["ls", "--kernel", "\udcff"], ["lookup", "\udcff"], ["explain", "\udcff"]):
        answer = cli(*words)
        assert answer.code == USAGE
        assert answer.err == "tunedb: Expected text in UTF-8, got '\\udcff'.\n"


def test_only_places_keep_the_locales_encoding() -> None:
    texts = {
        name
        for command in COMMANDS.values()
        for name, parameter in inspect.signature(command.function, eval_str=True).parameters.items()
        if get_origin(parameter.annotation) is Annotated and get_args(parameter.annotation)[0] in (str, str | None)
    }
    words = {"kernel", "device", "devices", "dask", "reason", "uid", "by", "where", "hints", "keys", "layout", "rows"}
    assert texts - {*PLACES} == words
