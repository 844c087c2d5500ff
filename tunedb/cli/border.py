"""The border of the command line: any exception becomes one sentence and an exit code, never a stack trace."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import tunedb
from tunedb import registry
from tunedb._internal import interrupts
from tunedb._internal.redact import without_passwords
from tunedb.cli.cells import one_line
from tunedb.cli.exit_codes import FOUND, INTERRUPTED, TERMINATED, USAGE, exit_code_of
from tunedb.cli.streams import CannotPrint
from tunedb.errors import TunedbError

_HOME = Path(tunedb.__file__).parent


def ending_of(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code with which an exception ends a command."""
    match error:
        case interrupts.Terminated():
            return interrupts.sentence_of(signal.SIGTERM), TERMINATED
        case KeyboardInterrupt():
            return interrupts.sentence_of(signal.SIGINT), INTERRUPTED
        case SystemExit():  # tunedb raises none here: whatever its code, the command has not done what it was asked for
            return f"The code of a kernel's package ended this command (SystemExit: {error.code}).", FOUND
        case CannotPrint():
            return f"Can't write the answer to stdout: {error}.", USAGE
        case TunedbError():
            return str(error), exit_code_of(error)
        case ModuleNotFoundError(name=str(name)) if name in registry.DEPENDENCIES:
            return f"This command needs {name}, which is not installed. Run: pip install {name}", USAGE
        case MemoryError():
            return "There is too little memory for this command.", FOUND
        case OSError(strerror=str(reason)):
            place = f"{error.filename}: " if error.filename else ""
            return f"The system refused what this command needs: {place}{reason}.", USAGE
        case _:
            return f"{_named(error)}, which tunedb did not expect. Please report this with the command.", FOUND


def say(message: str) -> None:
    """Print a message of the program on stderr, on one line."""
    if message:
        print(f"tunedb: {one_line(without_passwords(message))}", file=sys.stderr)


def say_all_errors() -> None:
    """Have exceptions of other threads, and those that Python only reports, printed on one line as well."""
    threading.excepthook = lambda thread: _say_error(thread.exc_value)
    sys.unraisablehook = lambda ignored: _say_error(ignored.exc_value)
    sys.excepthook = _say_uncaught


def _say_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    say(ending_of(error)[0])


def _say_error(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        say(_named(error))


def _named(error: BaseException) -> str:
    """Return the exception and the lines of tunedb that it came through: a stack trace on one line."""
    frames: list[Any] = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(_HOME)
    ]
    places = " < ".join(f"{Path(frame.filename).relative_to(_HOME)}:{frame.lineno}" for frame in reversed(frames[-3:]))
    message = str(error).strip().partition("\n")[0][:300]
    return f"{type(error).__name__}{f': {message}' if message else ''}{f' (at {places})' if places else ''}"
