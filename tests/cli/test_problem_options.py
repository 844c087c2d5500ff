"""The options of a problem: those that the named kernel declares, and none that the command line knows by itself."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel
from tunedb.cli.commands.warm import warm
from tunedb.cli.problem_options import as_options, offered, with_problem
from tunedb.core.declaration import Argument

ALL_TYPES = (
    Argument("shape", "shape"),
    Argument("kernel_size", "int"),
    Argument("scale", "float"),
    Argument("causal", "bool"),
    Argument("dtype", "str"),
    Argument("mask"),
)


def parsed(options: str) -> dict[str, Any]:
    """The arguments that a command gets for these options, as a shell would split them."""
    import typer

    given: dict[str, Any] = {}

    def keep(arguments: dict[str, Any]) -> None:
        given.update(arguments)

    app = typer.Typer()
    app.command()(with_problem(keep, ALL_TYPES))
    app(shlex.split(options), standalone_mode=False)
    return given


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"shape": [64, 128, 65536], "kernel_size": 8, "scale": 0.5, "causal": True, "dtype": "float16"},
        {"shape": [1], "causal": False, "dtype": "two words; $HOME 'x'"},
        {"mask": "text"},
        {"mask": "12"},
        {"mask": None},
        {"mask": [1, "a b"], "other": {"x": 1.5}, "third": "true", "fourth": "float16"},
    ],
)
def test_the_options_in_a_message_can_be_pasted(arguments: dict[str, Any]) -> None:
    assert parsed(as_options(arguments, ALL_TYPES)) == arguments


def test_the_help_of_a_kernel_shows_its_options(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["other"].arguments = (
        Argument("columns", "int", "Elements of a row.", required=True),
        Argument("x_dtype", "str", "The type.", default="float16", metavar="DTYPE"),
    )
    for command in ("warm", "lookup", "explain"):
        out = " ".join(cli(command, "other", "--help").out.split())
        assert all(text in out for text in ("The problem", "--columns", "--x-dtype", "DTYPE", "Required.", "--arg"))
        assert "--shape" not in out
        assert "float16" in out


@pytest.mark.parametrize("command", ["warm", "lookup", "explain"])
def test_the_help_without_a_kernel_says_how_to_see_its_options(
    cli: Cli, kernels: dict[str, Kernel], command: str
) -> None:
    out = " ".join(cli(command, "--help").out.split())
    assert f"tunedb {command} KERNEL --help" in out
    assert "Installed kernels: other, pool, pool_backward." in out
    assert "--shape" not in out


def test_an_unknown_option_is_answered_with_the_kernels_own(cli: Cli, kernels: dict[str, Kernel]) -> None:
    answer = cli("warm", "pool", "--columns", "3")
    assert (answer.code, answer.out) == (2, "")
    assert "--columns" in answer.err
    assert "Options of pool: --shape, --kernel-size. See: tunedb warm pool --help" in answer.err


def test_a_kernels_option_without_its_name_lists_the_kernels(cli: Cli, kernels: dict[str, Kernel]) -> None:
    answer = cli("lookup", "--shape", "1,2,3")
    assert answer.code == 2
    assert "Installed kernels: other, pool, pool_backward." in answer.err


def test_a_kernel_that_declares_nothing_takes_arguments_by_name(cli: Cli, kernels: dict[str, Kernel]) -> None:
    kernels["other"].arguments = ()
    answer = cli("warm", "other", "--arg", "shape=[5, 1]", "--arg", "kernel_size=3", "--format", "json")
    assert answer.json[0]["problem"] == {"rows": 5, "kernel_size": 3}
    assert "Options of other: --arg NAME=VALUE." in cli("warm", "other", "--shape", "5,1").err


def test_an_argument_never_takes_an_option_of_the_command() -> None:
    declared = [Argument(name) for name in ("force", "from", "store", "verbose", "help", "arg", "columns")]
    assert [argument.name for argument in offered(warm, declared)] == ["columns"]


def test_a_line_that_names_no_kernel_is_of_the_one_that_has_its_arguments(
    cli: Cli, kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    kernels["other"].arguments = (Argument("columns", "int"),)
    path = tmp_path / "shapes.jsonl"
    path.write_text(json.dumps({"id": "a", "shape": [2, 1]}))
    answer = cli("warm", "--from", path, "--forward-only", "--format", "json")
    assert [row["kernel"] for row in answer.json] == ["pool"]
    kernels["other"].arguments += kernels["pool"].arguments
    several = cli("warm", "--from", path)
    assert several.code == 2
    assert f"{path} line 1: no kernel is named, and several kernels take (other, pool)" in several.err
    path.write_text('{"width": 2}')
    assert "no installed kernel declares the arguments width" in cli("warm", "--from", path).err
