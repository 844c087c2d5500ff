"""The program as typer knows it: the commands with their options, those of a kernel's problem, and their help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

import typer

import tunedb
from tunedb.cli.command import Command, with_common_flags
from tunedb.cli.commands import COMMANDS, SUMMARIES
from tunedb.cli.examples import EXAMPLES
from tunedb.cli.exit_codes import EPILOG
from tunedb.cli.plain_help import PlainCommand, PlainGroup
from tunedb.cli.problem_options import with_problem
from tunedb.core.declaration import Argument

GROUPS = {"db": "Check, upgrade or back up the store."}
MARKUP: Literal["markdown"] = "markdown"


def make_app(
    kernel: str | None = None,
    arguments: Sequence[Argument] = (),
    *,
    installed: Iterable[str] = (),
    only: str | None = None,
) -> typer.Typer:
    """Return the command line with the options of one kernel's problem.

    Without a kernel, the help of the commands that take one lists the installed kernels. With the name of the `only`
    command that is asked for, or "" for none, the others have a name and a sentence: their files are not loaded.
    """
    app = typer.Typer(
        name="tunedb",
        cls=PlainGroup,
        help="An autotuning database for Triton kernels: find the best config once, reuse it in every later call.",
        epilog=EPILOG,
        rich_markup_mode=MARKUP,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(no_args_is_help=True)(_common)
    groups: dict[str, typer.Typer] = {}
    for words, sentence in SUMMARIES.items():
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(
                cls=PlainGroup, help=GROUPS[group], no_args_is_help=True, rich_markup_mode=MARKUP
            )
            app.add_typer(groups[group], name=group)
        decorate = (groups[group] if group else app).command
        if only is not None and only != words:
            decorate(name, cls=PlainCommand)(_named(sentence))
            continue
        command = COMMANDS[words]
        function = with_problem(command.function, arguments) if command.takes_problem else command.function
        epilog = _epilog(command, None if kernel else installed)
        decorate(name, cls=PlainCommand, epilog=epilog)(with_common_flags(function, configured=command.configured))
    return app


def _named(sentence: str) -> Callable[[], None]:
    """Return a command that only has a help."""

    def unloaded() -> None:
        raise AssertionError(sentence)  # the command that is run is loaded

    unloaded.__doc__ = sentence
    return unloaded


def _epilog(command: Command, installed: Iterable[str] | None) -> str:
    """Return the end of a command's help: examples, and the installed kernels if it takes one that is not named.

    The help of a named kernel has that kernel's options, and no examples of others.
    """
    if command.takes_problem and installed is None:
        return ""
    parts = ["Examples:", *(f"`{example}`" for example in EXAMPLES.get(command.name, ()))]
    if command.takes_problem:
        names = ", ".join(installed or ())
        known = f" Installed kernels: {names}." if names else ""
        parts.append(f"A kernel's own options: tunedb {command.name} KERNEL --help.{known}")
    return "\n\n".join(parts)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tunedb {tunedb.__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
