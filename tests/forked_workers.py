"""Workers of `tunedb.worker` in forks, so that each need not import SQLAlchemy, or torch, again."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import pytest

from tests import forked


def fork_workers(monkeypatch: pytest.MonkeyPatch, libraries: Sequence[str] = forked.WITH_TUNEDB) -> None:
    """Have supervisors of this process start their workers so; a fork looks for modules as `python -m` does."""

    def start(
        words: Sequence[str], *, stdin: int, stdout: int, pass_fds: Sequence[int], env: Mapping[str, str], text: bool
    ) -> forked.Program:
        [events] = pass_fds
        return forked.Program(words[words.index("-m") :], env=env, libraries=libraries, output=stdout, inherits=events)

    forked.prepare(libraries)  # the processes of a pool share this one's
    names = SimpleNamespace(Popen=start, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr("tunedb.worker.process.subprocess", names)


def start_workers_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have them started as in the product again."""
    monkeypatch.setattr("tunedb.worker.process.subprocess", subprocess)
