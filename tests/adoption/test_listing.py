"""The list of kernels, and the lines that a process writes for the report of `tunedb run`."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

import pytest
import triton

from tests.adoption.kernels import call, plain, record_of
from tests.decorator.kernels import add_one
from tunedb.adoption import patch, report


def test_a_process_reports_a_kernel_when_it_is_decided_and_not_only_at_its_end(
    adoption: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be killed."""
    monkeypatch.setattr(patch, "on_decision", [])
    monkeypatch.setattr(atexit, "register", lambda *_: None)
    lines = tmp_path / "lines"
    lines.touch()
    report.begin({"lines": str(lines)})
    call(plain())
    name = add_one.fn.__module__
    assert json.loads(lines.read_text()) == [os.getpid(), name, f"{name}.add_one", "adopted", ""]


def test_a_triton_that_was_imported_past_the_hook_is_listed(adoption: object, monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("Autotuner", (), {"run": triton.runtime.Autotuner.run.__wrapped__})
    kernel = plain(decorate=lambda configs, key, **rest: lambda jit: vars(again := other()).update(fn=jit) or again)
    monkeypatch.setattr(triton.runtime.autotuner, "Autotuner", other)
    assert "imported again" in record_of(kernel).reason
