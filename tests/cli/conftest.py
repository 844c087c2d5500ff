"""Running the command line: in this process where that can be, in one of its own where imports or triton matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.store.samples import sweep
from tunedb import settings
from tunedb.cli import run
from tunedb.records import Sweep
from tunedb.store import open_store

Cli = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout holds."""
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process: `cli("ls", "--format", "json")`."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return call


def run_apart(*command: object, **environment: str) -> Answer:
    """Run Python with these arguments in a process of its own, with this test's settings."""
    ran = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Answer(ran.returncode, ran.stdout, ran.stderr)


def put(*sweeps: Sweep) -> None:
    """Put sweeps into this test's store."""
    with open_store(settings.current().store) as store:
        store.put_sweeps(sweeps)


@pytest.fixture
def stored() -> Sequence[Sweep]:
    """Two sweeps that are in this test's store."""
    sweeps = sweep(1), sweep(2, config=None, status="failed", time_us=None)
    put(*sweeps)
    return sweeps
