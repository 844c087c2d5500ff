"""Running the command line: in this process where that can be, in one of its own where imports or triton matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests import forked
from tests.cli.kept_commands import keep_commands
from tests.fakes import FakeKernel
from tests.store.samples import sweep
from tunedb import registry, settings
from tunedb.cli import run
from tunedb.core.declaration import Argument
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError
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
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Run a command in this process: `cli("ls", "--format", "json")`."""
    keep_commands(monkeypatch)
    asked = os.environ.get("TRITON_INTERPRET")

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    yield call
    os.environ.pop("TRITON_INTERPRET", None)  # a command that runs kernels asks Triton for its interpreter
    if asked is not None:
        os.environ["TRITON_INTERPRET"] = asked


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


def run_forked(*words: object, **environment: str) -> Answer:
    """Like `run_apart`, in a fork of a process that has imported tunedb: not for tests of what is loaded."""
    ran = forked.run(words, env={**os.environ, **environment}, libraries=forked.WITH_TUNEDB)
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


ARGUMENTS = (Argument("shape", "shape", required=True), Argument("kernel_size", "int", default=1))


@dataclass
class Kernel(FakeKernel):
    """A fake kernel that can be registered."""

    gradient: str | None = None
    arguments: tuple[Argument, ...] = ARGUMENTS

    def problem(self, arguments: Mapping[str, Any]) -> Problem:  # type: ignore[override]
        """A problem of the shape."""
        if "shape" not in arguments:
            raise SettingError("shape is missing.")
        return Problem.of(self.name, rows=arguments["shape"][0], kernel_size=arguments.get("kernel_size", 1))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kernel]:
    """`pool` with its gradient, and `other`, registered in the place of the real ones."""
    gradients = {"pool": "pool_backward", "pool_backward": None, "other": None}
    made = {name: Kernel({128: 1.0, 256: 1.0}, name=name, gradient=gradient) for name, gradient in gradients.items()}

    def named(name: str) -> Kernel:
        if name not in made:
            raise SettingError(f"No kernel is called {name!r}.")
        return made[name]

    monkeypatch.setattr(registry, "kernel_named", named)
    monkeypatch.setattr(registry, "kernel_names", lambda: sorted(made))
    monkeypatch.setattr("tunedb.cli.device.index_to_run_on", lambda: -1)
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    return made
