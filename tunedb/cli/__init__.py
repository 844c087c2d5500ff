"""The command line: the program `tunedb`, whose exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import tunedb
from tunedb import registry
from tunedb._internal.redact import without_passwords
from tunedb.cli import device
from tunedb.cli.command import Command, with_common_flags
from tunedb.cli.commands import COMMANDS
from tunedb.cli.exit_codes import DONE, EPILOG, INTERRUPTED, USAGE, exit_code_of
from tunedb.cli.output import one_line
from tunedb.cli.problem_options import offered, option_of, with_problem
from tunedb.core.declaration import Argument
from tunedb.errors import TunedbError

# In the order of `tunedb --help`.
ORDER = (
    "warm", "lookup", "explain", "ls", "show", "mark", "verify", "misses", "stats", "export", "import", "sync", "gc",
    "db current", "db check", "db upgrade", "db backup", "doctor", "demo", "path",
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
    """Run one command, by default that of `sys.argv`, and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(words[0]) if words else None
    kernel = None
    declared: tuple[Argument, ...] = ()
    try:
        if command is not None and command.takes_problem:
            kernel = next((word for word in words[1:] if word in registry.kernel_names()), None)
            declared = _declared(command, kernel, words)
            program = make_app(kernel, declared, installed=registry.kernel_names())
        else:
            program = app
        code = program(args=words, prog_name="tunedb", standalone_mode=False) or DONE
    except TyperException as error:
        return _say(_usage_message(error, command, kernel, declared), USAGE)
    except TunedbError as error:
        return _say(str(error), exit_code_of(error))
    except ModuleNotFoundError as error:
        if error.name not in registry.DEPENDENCIES:
            raise
        return _say(f"This command needs {error.name}, which is not installed. Run: pip install {error.name}", USAGE)
    except KeyboardInterrupt:  # while a kernel was loaded; typer turns later ones into the exit code
        code = INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        sys.stdout = None  # or Python complains at exit
        return DONE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        sys.stdout = None
        return _say(f"Can't write the answer to stdout: {error.strerror}.", USAGE)
    if code == INTERRUPTED:
        return _say("Interrupted. What was tuned is stored: the same command goes on from there.", INTERRUPTED)
    return int(code)


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


def _say(message: str, code: int) -> int:
    if message:
        print(f"tunedb: {one_line(without_passwords(message))}", file=sys.stderr)
    return code


def main() -> NoReturn:
    """Run the program `tunedb`."""
    sys.exit(run())
