"""Ctrl-C and SIGTERM of the program: KeyboardInterrupt, but the end at once while a module is being imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_note = ""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def watch() -> None:
    """Handle Ctrl-C and SIGTERM from now on, unless the parent process had them ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def unwatch() -> None:
    """Let Ctrl-C and SIGTERM end the process without a word: it has said how it ended."""
    for number in SIGNALS:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_DFL)


def set_note(note: str) -> None:
    """Set what an interrupt says about what was done: one sentence, or nothing."""
    global _note
    _note = note


def sentence_of(number: int) -> str:
    """Return what the program says about an end by this signal."""
    return f"{'Interrupted' if number == signal.SIGINT else 'Ended by SIGTERM'}.{f' {_note}' if _note else ''}"


def _handle(number: int, frame: FrameType | None) -> None:
    # An exception inside of an import may be swallowed, and in torch's C++ it ends in an abort; nothing is to be saved.
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os.write(2, f"tunedb: {sentence_of(number)}\n".encode())
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
