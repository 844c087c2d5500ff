"""What the commands share: the flags of every command, the log on stderr, and options that several of them take."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from tunedb import settings
from tunedb.cli.output import Format
from tunedb.errors import SettingError

log = logging.getLogger("tunedb.cli")  # progress and notes, on stderr

Command = Callable[..., None]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the answer on stdout.")]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="A stored device: its name, or a part that fits no other."),
]
KernelOption = Annotated[str | None, typer.Option("--kernel", metavar="NAME", help="Only this kernel.")]

_PANEL = "On every command"
_STORE = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="PATH_OR_URL", help="The store to use, instead of TUNEDB_STORE.", rich_help_panel=_PANEL
    ),
]
_QUIET = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only on stderr.", rich_help_panel=_PANEL)]
_VERBOSE = Annotated[bool, typer.Option("-v", "--verbose", help="More on stderr.", rich_help_panel=_PANEL)]


def command(app: typer.Typer, name: str | None = None, *, configured: bool = True) -> Callable[[Command], Command]:
    """Register a function as a command that also takes the flags of every command, which take effect around it.

    One that is not `configured` runs whatever the settings are, and takes `store` itself.
    """

    def register(function: Command) -> Command:
        @functools.wraps(function)
        def wrapped(*, store: str | None, quiet: bool, verbose: bool, **given: Any) -> None:
            if store == "":
                raise SettingError("--store: found nothing, needed a path or a URL.")
            told: dict[str, Any] = {} if store is None else {"store": store}
            with _log_on_stderr(quiet, verbose):
                if configured:
                    with settings.using(**told):
                        function(**given)
                else:
                    function(store=store, **given)
                if sys.stdout is not None:
                    sys.stdout.flush()  # here, where a closed pipe is no error

        flags = {"store": (_STORE, None), "quiet": (_QUIET, False), "verbose": (_VERBOSE, False)}
        app.command(name)(with_parameters(wrapped, function, flags, instead_of="store"))
        return function

    return register


def with_parameters(
    wrapped: Command, function: Command, added: Mapping[str, tuple[Any, Any]], *, instead_of: str = ""
) -> Command:
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
    """Whether -v was given."""
    return logging.getLogger("tunedb").isEnabledFor(logging.INFO)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the block, which would not pass it on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


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
