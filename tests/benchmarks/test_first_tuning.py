"""The plumbing of the benchmark of first tunings: what it runs, how it goes on, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import first_tuning, timing

CASE = "softmax, 6 configs"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sides that were run."""
    run: list[str] = []

    class Child:
        def __init__(self, side: str, case: str, work: Path) -> None:
            assert work.is_dir()
            self.side = side

        def run(self) -> dict[str, Any]:
            run.append(self.side)
            seconds = 2.0 if self.side == "triton" else 1.0
            return {"import_s": 0.5, "first_call_s": seconds, "config": "", "right": True}

        def drop(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(first_tuning, "child", Child)
    monkeypatch.setattr(timing, "provenance", lambda: {"device": "a GPU"})
    monkeypatch.setattr(timing, "require_gpu", lambda: None)
    return run


def test_sides_take_turns_and_what_the_file_holds_is_not_run_again(
    children: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "first.jsonl"
    words = ["--json", str(path), "--cases", CASE]
    first_tuning.main([*words, "--pairs", "2"])
    assert children == ["triton", "tunedb", "tunedb", "triton"]
    first_tuning.main([*words, "--pairs", "3"])
    assert children[4:] == ["triton", "tunedb"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row.get("number") for row in rows] == [None, 0, 1, None, 2]
    capsys.readouterr()
    first_tuning.main([*words, "--table"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        f"| {CASE}, 3 pairs | 2.00 s (2.0 to 2.0) | 1.00 s (1.0 to 1.0) | 0.50 (0.5 to 0.5) | 0.60 (0.6 to 0.6) |"
    )
    first_tuning.main([*words, "--pairs", "9", "--seconds", "-1"])
    assert len(children) == 6
