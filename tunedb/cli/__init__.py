"""The command line. Here the commands are gathered, and exceptions become one line on stderr and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import tunedb
from tunedb.cli.commands import db, demo, doctor, gc, verify, warm
from tunedb.cli.commands import explain as judge
from tunedb.cli.commands import export as transfer
from tunedb.cli.commands import misses as ledger
from tunedb.cli.commands import show as rows
from tunedb.cli.commands import sync as share
from tunedb.cli.output import one_line
from tunedb.errors import IdentityError, ImportRejected, SchemaMismatch, SettingError, StoreError, TunedbError

DONE, FOUND, USAGE, UNAVAILABLE, SCHEMA, INTERRUPTED = 0, 1, 2, 3, 4, 130

_EPILOG = (
    "Exit codes: 0 done; 1 something was found (nothing stored for what was asked, misses, a sweep without a config, "
    "rejected rows); 2 wrong usage (an option, a kernel, a shape, a file that is absent or refused); 3 the store "
    "can't be used; 4 its schema needs an upgrade; 130 interrupted, with progress saved."
)
_CODES: tuple[tuple[type[TunedbError], int], ...] = (
    (SchemaMismatch, SCHEMA),
    (StoreError, UNAVAILABLE),
    (SettingError, USAGE),
    (IdentityError, USAGE),
    (ImportRejected, USAGE),
    (TunedbError, FOUND),
)

app = typer.Typer(
    name="tunedb",
    help="An autotuning database for Triton kernels: the best config, found once, handed to every later call.",
    epilog=_EPILOG,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (warm, rows, judge, verify, ledger, share, transfer, gc, db, doctor, demo):
    group.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"tunedb {tunedb.__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command, on `sys.argv` where no arguments are given; returns the exit code."""
    try:
        code = app(args=arguments, prog_name="tunedb", standalone_mode=False) or DONE
    except TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" See: {context.command_path} --help" if context is not None else ""
        return _say(error.format_message() and error.format_message() + hint, USAGE)
    except TunedbError as error:
        return _say(str(error), next(code for kind, code in _CODES if isinstance(error, kind)))
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "triton", "numpy"):
            raise
        return _say(f"Found no {error.name}, which this command needs. Run: pip install {error.name}", USAGE)
    except BrokenPipeError:  # whoever reads has seen enough
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


def _say(message: str, code: int) -> int:
    if message:  # none where the help was the answer
        print(f"tunedb: {one_line(message)}", file=sys.stderr)
    return code


def main() -> NoReturn:
    """The program `tunedb`."""
    sys.exit(run())
