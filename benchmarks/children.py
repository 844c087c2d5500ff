"""Steps of a benchmark in processes of their own, of which the next one imports while the present one is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Row = dict[str, Any]


class Child:
    """`python -m` with these arguments: it imports what it needs, `begin`s when it is told, and prints a JSON line."""

    def __init__(self, arguments: Iterable[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self) -> Row:
        """Tell it to begin; what it printed last."""
        printed, _ = self._process.communicate("go\n")
        assert self._process.returncode == 0
        found: Row = json.loads(printed.splitlines()[-1])
        return found

    def drop(self) -> None:
        """It is not wanted any more."""
        self._process.kill()
        self._process.communicate()


def begin() -> None:
    """A child's part: wait until it is told to begin; it ends where whoever was to say so is gone."""
    if sys.stdin.readline() != "go\n":
        sys.exit(1)


def in_turn(steps: Iterable[Callable[[], Child]]) -> Iterator[Row]:
    """What each of the children answers, one after the other; the next one is made before one is run."""
    waiting: Child | None = None
    try:
        for step in steps:
            child, waiting = waiting, step()
            if child is not None:
                yield child.run()
        if waiting is not None:
            child, waiting = waiting, None
            yield child.run()
    finally:
        if waiting is not None:
            waiting.drop()
