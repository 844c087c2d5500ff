"""Runs lines of shell blocks of the documentation; `tests/docs/test_code_blocks.py` writes programs that use it."""

from __future__ import annotations

import shlex
import subprocess
import sys

from tunedb import settings
from tunedb.cli import run
from tunedb.store import open_store

MAY_FIND = ("doctor", "explain", "misses")  # exit code 1 of these is an answer


def run_line(line: str) -> None:
    """Run a line of a shell block: `tunedb ...` in this process, anything else in a shell. Ends the program on failure.

    UID stands for a sweep that an earlier line stored.
    """
    command, *words = shlex.split(line, comments=True)
    if command != "tunedb":
        subprocess.run(line, shell=True, check=True)
        return
    if "UID" in words:
        words[words.index("UID")] = stored_uid()
    code = run(words)
    if code != 0 and not (code == 1 and words[0] in MAY_FIND):
        sys.exit(f"exit code {code}: {line}")


def stored_uid() -> str:
    """Return the uid of a sweep in the current store."""
    with open_store(settings.current().store) as store:
        return next(iter(store.iter_sweeps())).uid
