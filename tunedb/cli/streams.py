"""The program's standard streams: text that can't be encoded is escaped, and only a write that matters can fail."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import sys
from typing import Any, TextIO

ERRORS = "tunedb.escape"  # the name of the error handler below
_OF_RICH = {"\N{HORIZONTAL ELLIPSIS}": "...", "\N{BULLET}": "*"}  # of what is cut off, and of lists in help


class CannotPrint(Exception):
    """The answer can't be written to stdout. The text says why."""


class _Output(io.FileIO):
    """A file descriptor on which a closed pipe is not an error: the command goes on, to its own exit code.

    Raises CannotPrint, once, for any other error if the output is `required`.
    """

    def __init__(self, descriptor: int, *, required: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._required = required
        self._broken = False

    def write(self, data: Any) -> int:
        if self._broken:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:  # a pipe that someone has set to be non-blocking
                select.select([], [self], [])
        except OSError as error:
            self._broken = True
            if self._required and not isinstance(error, BrokenPipeError):
                raise CannotPrint(error.strerror) from error
            return memoryview(data).nbytes
        return written


def open_streams() -> None:
    """Replace the standard streams by ones that do not fail for encodings and closed pipes."""
    _fill_descriptors()
    encodings = [getattr(stream, "encoding", None) or "utf-8" for stream in (sys.stdout, sys.stderr)]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = text_output(1, encodings[0], required=True)
    sys.stderr = text_output(2, encodings[1], required=False)


def text_output(descriptor: int, encoding: str, *, required: bool) -> TextIO:
    """Return a text file on a descriptor, which stays open. Errors count only if the output is `required`."""
    codecs.register_error(ERRORS, _escaped)
    raw = _Output(descriptor, required=required)
    # A line that goes to stderr has to be seen before what comes next.
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=ERRORS, line_buffering=not required or raw.isatty()
    )


@contextlib.contextmanager
def as_file(stdout: TextIO) -> Any:
    """Yield stdout as a text file in UTF-8, whatever the encoding of the terminal: for what is written to be kept."""
    stdout.flush()
    buffer = getattr(stdout, "buffer", None)
    if buffer is None:  # replaced by one that takes text only
        yield stdout
        return
    file = io.TextIOWrapper(buffer, encoding="utf-8", newline="", write_through=True)
    try:
        yield file
        file.flush()
    finally:
        file.detach()


def _fill_descriptors() -> None:
    """Open the standard descriptors that are closed, or the next file opened, such as the store, becomes one of them.

    Writing to a stdout that was closed fails, as it did before; what is written to a closed stderr is lost.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free one, which is this one


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Escape a character that the encoding lacks; what rich itself prints is replaced by ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    of_rich = _OF_RICH.get(error.object[error.start])
    if of_rich is not None:
        return of_rich, error.start + 1
    single = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(single)
