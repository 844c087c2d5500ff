"""The command line: the program `tunedb`, whose exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

import typer
from typer.exceptions import TyperException

from tunedb import registry, settings
from tunedb._internal import interrupts
from tunedb._internal.lazy import lazy
from tunedb.adoption import command_line
from tunedb.cli.application import make_app
from tunedb.cli.border import ending_of, say, say_all_errors
from tunedb.cli.command import Command
from tunedb.cli.commands import COMMANDS
from tunedb.cli.exit_codes import DONE, USAGE
from tunedb.cli.output import only_answers_on_stdout
from tunedb.cli.problem_options import offered, option_of
from tunedb.cli.streams import open_streams
from tunedb.core.declaration import Argument
from tunedb.errors import TunedbError

if TYPE_CHECKING:
    from tunedb.cli.whole import app as app

__all__ = ["app", "main", "run"]
__getattr__, __dir__ = lazy(globals(), {"app": "tunedb.cli.whole"})


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of `sys.argv`, and return its exit code. Raises nothing."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        asked = settings.words_to_complete() if arguments is None else None
        code = _run(words) if asked is None else _complete(asked)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk becomes a sentence
    # The border: whatever it is, the user gets one sentence.
    except BaseException as error:
        message, code = ending_of(error)
        say(message)
    return code


def _command_of(words: Sequence[str]) -> Command | None:
    return next((COMMANDS[name] for name in (" ".join(words[:2]), *words[:1]) if name in COMMANDS), None)


def _complete(words: Sequence[str]) -> int:
    """Answer a shell that asks what may follow these words."""
    command, kernel = _command_of(words), None
    declared: tuple[Argument, ...] = ()
    with contextlib.suppress(TunedbError), only_answers_on_stdout():  # then its options are not offered
        if command is not None and command.takes_problem:
            kernel = next((word for word in words[1:] if word in registry.kernel_names()), None)
            declared = () if kernel is None else registry.arguments_of(registry.kernel_named(kernel))
    group = typer.main.get_command(make_app(kernel, declared, only="" if command is None else command.name))
    return _exit_code_of(lambda: group.main([], prog_name="tunedb", complete_var="_TUNEDB_COMPLETE"))


def _exit_code_of(end: Callable[[], object]) -> int:
    """Return the code with which typer's own parts end the process."""
    try:
        end()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else DONE if ended.code is None else USAGE
    return DONE


def _run(words: Sequence[str]) -> int:
    command = _command_of(words)
    interrupts.set_note(command.interrupted if command else "")
    if words[:1] == ["run"]:  # the words after the options are the program's
        options, of_program = command_line.split(words[1:])
        words = ["run", *options, *(["--", *of_program] if of_program else [])]
    kernel = None
    declared: tuple[Argument, ...] = ()
    try:
        installed: Sequence[str] = ()
        if command is not None and command.takes_problem:
            installed = registry.kernel_names()
            kernel = next((word for word in words[1:] if word in installed), None)
            with only_answers_on_stdout():
                declared = _declared(command, kernel, words)
        only = "" if command is None else command.name
        group = typer.main.get_command(make_app(kernel, declared, installed=installed, only=only))
        # Not by calling it, which has its own way with interrupts and closed pipes.
        if words and words[0] in ("--install-completion", "--show-completion"):
            return _exit_code_of(lambda: group.make_context("tunedb", list(words)))
        with group.make_context("tunedb", list(words)) as context:
            group.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.Abort:  # Ctrl-C, or the end of stdin, at a question
        raise KeyboardInterrupt from None
    except TyperException as error:
        say(_usage_message(error, command, kernel, declared, words))
        return USAGE
    return DONE


def _declared(command: Command, kernel: str | None, words: Sequence[str]) -> tuple[Argument, ...]:
    """Return the arguments that the kernel declares. Asks Triton for its interpreter first if a run needs it."""
    if kernel is None:
        return ()
    if command.runs_kernels and not {"-h", "--help"} & set(words):
        from tunedb.cli import device

        device.index_to_run_on()
    return registry.arguments_of(registry.kernel_named(kernel))


def _usage_message(
    error: TyperException,
    command: Command | None,
    kernel: str | None,
    declared: Sequence[Argument],
    words: Sequence[str],
) -> str:
    from tunedb.tuner.stored_names import alike

    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message or context is None:  # no message: the help was the answer
        return message
    message, path = f"{message}." if message[-1] not in ".?" else message, context.command_path
    if command is None or not command.takes_problem:
        return f"{message} See: {path} --help"
    is_unknown_option = hasattr(error, "possibilities")  # typer does not export the class
    if kernel is None:
        installed = registry.kernel_names()
        names = ", ".join(installed) or "none"
        meant = "".join(alike(word, installed) for word in words[1:2] if not word.startswith("-"))
        hint = f"{meant} A kernel's options need its name. Installed kernels: {names}." if is_unknown_option else ""
        return f"{message}{hint} See: {path} KERNEL --help"
    options = ", ".join(map(option_of, offered(command.function, declared))) or "--arg NAME=VALUE"
    hint = f" Options of {kernel}: {options}." if is_unknown_option else ""
    return f"{message}{hint} See: {path} {kernel} --help"


def main() -> NoReturn:
    """Run the program `tunedb`."""
    open_streams()
    say_all_errors()
    interrupts.watch()
    code = run()
    interrupts.unwatch()
    if sys.argv[1:2] == ["warm"]:  # which may have loaded torch, and runs no program of the user's
        from tunedb.cli.quick_exit import exit_quickly

        exit_quickly(code)
    sys.exit(code)
