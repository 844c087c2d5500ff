"""The store of the benchmark of commands, and that its commands do what is timed. Nothing is timed."""

from __future__ import annotations

import pytest

from benchmarks import cli as benchmark
from tests.cli.conftest import Cli, cli
from tunedb import settings

__all__ = ["cli"]


def test_the_commands_find_what_the_store_has(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    benchmark.make_store(settings.current().store)
    for command in benchmark.COMMANDS:
        assert cli(*command.split()).code == 0, command
    assert len(cli("ls", "--format", "json").json) == benchmark.SWEEPS
