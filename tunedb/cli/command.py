"""The parts that commands share: their registration, their common flags, and the log on stderr."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tunedb import settings
from tunedb._internal.printable import printable
from tunedb._internal.redact import without_passwords
from tunedb.cli import completion
from tunedb.cli.output import Format, only_answers_on_stdout
from tunedb.errors import SettingError

log = logging.getLogger("tunedb.cli")  # progress and notes, on stderr

Function = Callable[..., None]
FormatOption = Annotated[
    Format,
    typer.Option("--format", metavar="FORMAT", help="How to print the answer on stdout: as a table, json or csv."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="A stored device: its name, or a part of it that no other has.",
        autocompletion=completion.devices,
    ),
]
FleetOption = Annotated[
    bool, typer.Option("--fleet", help="Ask the shared store, which has what all hosts sent, not the local one.")
]
KernelOption = Annotated[
    str | None,
    typer.Option("--kernel", metavar="NAME", help="Only this kernel.", autocompletion=completion.kernels),
]
UidArgument = Annotated[
    str, typer.Argument(help="A sweep's uid, or its first characters.", autocompletion=completion.uids)
]

TRIAL_TIMEOUT_HELP = "How long one config may compile, and how long it may run; longer counts as failed."

_PANEL = "On every command"
_STORE = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="PATH_OR_URL", help="The store to use, instead of TUNEDB_STORE.", rich_help_panel=_PANEL
    ),
]
_QUIET = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr.", rich_help_panel=_PANEL)]
_VERBOSE = Annotated[bool, typer.Option("-v", "--verbose", help="More detail.", rich_help_panel=_PANEL)]
PLACES = (
    "output",
    "png",
    "source",
    "target",
    "url",
    "words",
)  # parameters that take a path, a store, or a program's words
COMMON_FLAGS = {"store": (_STORE, None), "quiet": (_QUIET, False), "verbose": (_VERBOSE, False)}


@dataclass(frozen=True, slots=True)
class Command:
    """A registered command, by the words that it is typed with."""

    name: str
    function: Function
    configured: bool  # whether the settings have to be usable
    takes_problem: bool  # whether it has the options of a kernel's problem
    runs_kernels: bool  # whether it runs the kernel that is named, in Triton's interpreter if there is no GPU
    interrupted: str  # what an interrupt says about what was done: a sentence, or nothing


REGISTERED: dict[str, Command] = {}  # those whose files are loaded: `tunedb.cli.commands.COMMANDS` has all


def command(
    name: str,
    *,
    configured: bool = True,
    takes_problem: bool = False,
    runs_kernels: bool = False,
    interrupted: str = "",
) -> Callable[[Function], Function]:
    """Register a function as a command, such as `ls` or `db check`.

    A command that is not `configured` runs with unusable settings too, and takes `store` itself. One that
    `takes_problem` gets the problem's `arguments` as a mapping.
    """

    def register(function: Function) -> Function:
        REGISTERED[name] = Command(name, function, configured, takes_problem, runs_kernels, interrupted)
        return function

    return register


def with_common_flags(function: Function, *, configured: bool) -> Function:
    """Return the function with the flags of every command, which take effect around it."""

    @functools.wraps(function)
    def wrapped(*, store: str | None, quiet: bool, verbose: bool, **options: Any) -> None:
        if store == "":
            raise SettingError("--store: expected a path or a URL, got nothing.")
        options = {name: value if name in PLACES else _as_text(value) for name, value in options.items()}
        overrides: dict[str, Any] = {} if store is None else {"store": store}
        with _log_on_stderr(quiet, verbose), only_answers_on_stdout():
            if configured:
                with settings.using(**overrides):
                    function(**options)
            else:
                function(store=store, **options)

    return with_parameters(wrapped, function, COMMON_FLAGS, instead_of="store")


def _as_text(value: Any) -> Any:
    """Return an option's value with text that is not ASCII as UTF-8, which names are stored in, whatever the locale.

    Paths stay as they are: the locale's encoding finds their files.
    """
    if isinstance(value, list):
        return [_as_text(part) for part in value]
    if type(value) is not str or value.isascii():
        return value
    try:
        return value.encode(sys.getfilesystemencoding(), "surrogateescape").decode()
    except UnicodeError:
        try:
            value.encode()
        except UnicodeError:
            raise SettingError(f"Expected text in UTF-8, got {value!r}.") from None
        return value


def with_parameters(
    wrapped: Function, function: Function, added: Mapping[str, tuple[Any, Any]], *, instead_of: str = ""
) -> Function:
    """Give `wrapped` the signature of `function` with parameters added, each an annotation and a default."""
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != instead_of]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    wrapped.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return wrapped


def is_verbose() -> bool:
    """Return whether -v was given."""
    return logging.getLogger("tunedb").isEnabledFor(logging.INFO)


def is_quiet() -> bool:
    """Return whether -q was given."""
    return not logging.getLogger("tunedb").isEnabledFor(logging.WARNING)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(printable(without_passwords(self.format(record))), file=sys.stderr)


@contextlib.contextmanager
def _log_on_stderr(quiet: bool, verbose: bool) -> Iterator[None]:
    library = logging.getLogger("tunedb")
    before, handler = (library.level, log.level), _StderrHandler()
    library.addHandler(handler)
    library.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    log.setLevel(logging.ERROR if quiet else logging.INFO)
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.setLevel(before[0])
        log.setLevel(before[1])
