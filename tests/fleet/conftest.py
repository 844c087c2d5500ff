"""What tests of fleets share: processes that know the planted kernel, and its problems as lines of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.forked_workers import fork_workers
from tests.planted import KERNEL, NAME, problem_of, register_lightly
from tests.store.conftest import postgresql_instance, postgresql_server, postgresql_url
from tunedb.core.device import INTERPRETER, Placement
from tunedb.core.task import TuningTask

__all__ = ["postgresql_instance", "postgresql_server", "postgresql_url"]

Outcomes = Mapping[str, float | str]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let processes know the planted kernel, with stand-ins for torch and Triton; returns their PYTHONPATH."""
    path = register_lightly(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    fork_workers(monkeypatch)
    return path


def tasks_of(*problems: Outcomes) -> list[TuningTask]:
    """Tasks of the planted kernel, in the interpreter."""
    return [TuningTask(KERNEL, problem_of(**outcomes), Placement(INTERPRETER, -1)) for outcomes in problems]


def write_shapes(path: Path, problems: Sequence[Outcomes]) -> Path:
    """Write the problems as a file for `tunedb warm --from`."""
    path.write_text("".join(json.dumps({"kernel": NAME, **outcomes}) + "\n" for outcomes in problems))
    return path
