"""Steps of a benchmark, each in its own process; the next one imports while the current one is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Row = dict[str, Any]


class ChildFailed(Exception):
    """A step's process failed; its own error stands on stderr."""


class Child:
    """A process `python -m ARGUMENTS` that imports what it needs, waits in `begin`, and prints a JSON line."""

    def __init__(self, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
        self._words = [sys.executable, "-m", *arguments]
        self._process = subprocess.Popen(
            self._words,
            env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self) -> Row:
        """Let the process begin, and return the last line that it prints."""
        printed, _ = self._process.communicate("go\n")
        if self._process.returncode:
            raise ChildFailed(f"python {' '.join(self._words[1:])}: exit code {self._process.returncode}")
        row: Row = json.loads(printed.splitlines()[-1])
        return row

    def drop(self) -> None:
        """Kill the process: its result is not needed."""
        self._process.kill()
        self._process.communicate()


def begin() -> None:
    """Wait, in the child, until the parent says to begin; exit if the parent is gone."""
    if sys.stdin.readline() != "go\n":
        sys.exit(1)


def in_turn(steps: Iterable[Callable[[], Child]], ahead: int = 1) -> Iterator[Row]:
    """Yield the row of each child, one after the other; the next ones, `ahead`, are started before one is run."""
    waiting: deque[Child] = deque()
    try:
        for step in steps:
            waiting.append(step())
            if len(waiting) > ahead:
                yield waiting.popleft().run()
        while waiting:
            yield waiting.popleft().run()
    finally:
        for child in waiting:
            child.drop()
