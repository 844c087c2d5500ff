"""The command line: the program `tunedb`, whose exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import tunedb
from tunedb import registry
from tunedb._internal import interrupts
from tunedb.adoption import command_line
from tunedb.cli import device
from tunedb.cli.border import ending_of, say, say_all_errors
from tunedb.cli.command import Command, with_common_flags
from tunedb.cli.commands import COMMANDS
from tunedb.cli.exit_codes import DONE, EPILOG, USAGE
from tunedb.cli.output import only_answers_on_stdout
from tunedb.cli.problem_options import offered, option_of, with_problem
from tunedb.cli.streams import open_streams
from tunedb.core.declaration import Argument

# In the order of `tunedb --help`.
ORDER = (
    "warm", "run", "precompile", "lookup", "explain", "ls", "show", "report", "diff", "mark", "verify", "misses",
    "stats", "kernels", "devices", "export", "import", "sync", "gc", "db current", "db check", "db upgrade", "db backup",
    "doctor", "demo", "path",
)  # fmt: skip
GROUPS = {"db": "The store's schema (its revision, a check, an upgrade), and a backup."}


def make_app(
    kernel: str | None = None, arguments: Sequence[Argument] = (), *, installed: Iterable[str] = ()
) -> typer.Typer:
    """Return the command line with the options of one kernel's problem.

    Without a kernel, the help of the commands that take one lists the installed kernels.
    """
    app = typer.Typer(
        name="tunedb",
        help="An autotuning database for Triton kernels: find the best config once, reuse it in every later call.",
        epilog=EPILOG,
        rich_markup_mode="markdown",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(no_args_is_help=True)(_common)
    groups: dict[str, typer.Typer] = {}
    for command in (COMMANDS[name] for name in ORDER):
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(help=GROUPS[group], no_args_is_help=True)
            app.add_typer(groups[group], name=group)
        function, epilog = command.function, None
        if command.takes_problem:
            function = with_problem(function, arguments)
            epilog = None if kernel else _kernels_epilog(name, installed)
        decorate = (groups[group] if group else app).command(name, epilog=epilog)
        decorate(with_common_flags(function, configured=command.configured))
    return app


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


def _kernels_epilog(command: str, installed: Iterable[str]) -> str:
    names = ", ".join(installed)
    return f"A kernel's own options: tunedb {command} KERNEL --help.{f' Installed kernels: {names}.' if names else ''}"


app = make_app()  # for tools that read the commands, such as the one that makes the reference page


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of `sys.argv`, and return its exit code. Raises nothing."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk becomes a sentence
    # The border: whatever it is, the user gets one sentence.
    except BaseException as error:
        message, code = ending_of(error)
        say(message)
    return code


def _run(words: Sequence[str]) -> int:
    command = next((COMMANDS[name] for name in (" ".join(words[:2]), *words[:1]) if name in COMMANDS), None)
    interrupts.set_note(command.interrupted if command else "")
    if words[:1] == ["run"]:  # the words after the options are the program's
        options, of_program = command_line.split(words[1:])
        words = ["run", *options, *(["--", *of_program] if of_program else [])]
    kernel = None
    declared: tuple[Argument, ...] = ()
    try:
        program = app
        if command is not None and command.takes_problem:
            kernel = next((word for word in words[1:] if word in registry.kernel_names()), None)
            with only_answers_on_stdout():
                declared = _declared(command, kernel, words)
            program = make_app(kernel, declared, installed=registry.kernel_names())
        group = typer.main.get_command(program)
        # Not by calling it, which has its own way with interrupts and closed pipes.
        with group.make_context("tunedb", list(words)) as context:
            group.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.Abort:  # Ctrl-C, or the end of stdin, at a question
        raise KeyboardInterrupt from None
    except TyperException as error:
        say(_usage_message(error, command, kernel, declared))
        return USAGE
    return DONE


def _declared(command: Command, kernel: str | None, words: Sequence[str]) -> tuple[Argument, ...]:
    """Return the arguments that the kernel declares. Asks Triton for its interpreter first if a run needs it."""
    if kernel is None:
        return ()
    if command.runs_kernels and not {"-h", "--help"} & set(words):
        device.index_to_run_on()
    return registry.arguments_of(registry.kernel_named(kernel))


def _usage_message(
    error: TyperException, command: Command | None, kernel: str | None, declared: Sequence[Argument]
) -> str:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message or context is None:  # no message: the help was the answer
        return message
    message, path = message.rstrip("."), context.command_path
    if command is None or not command.takes_problem:
        return f"{message}. See: {path} --help"
    is_unknown_option = hasattr(error, "possibilities")  # typer does not export the class
    if kernel is None:
        names = ", ".join(registry.kernel_names()) or "none"
        hint = f" A kernel's options need its name. Installed kernels: {names}." if is_unknown_option else ""
        return f"{message}.{hint} See: {path} KERNEL --help"
    options = ", ".join(map(option_of, offered(command.function, declared))) or "--arg NAME=VALUE"
    hint = f" Options of {kernel}: {options}." if is_unknown_option else ""
    return f"{message}.{hint} See: {path} {kernel} --help"


def main() -> NoReturn:
    """Run the program `tunedb`."""
    open_streams()
    say_all_errors()
    interrupts.watch()
    code = run()
    interrupts.unwatch()
    sys.exit(code)
