"""The plumbing of the benchmark of sweeps: what it runs, how it goes on, and how its figures are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweep, timing
from tunedb.core.device import INTERPRETER
from tunedb.kernels.avg_pool import FORWARD

DEFAULT, BEST, NEAR = '{"BLOCK":1}', '{"BLOCK":2}', '{"BLOCK":4}'
TIMES = {DEFAULT: 100.0, BEST: 50.0, NEAR: 50.5}


def answer(step: str, number: int) -> dict[str, Any]:
    """What a child would have measured."""
    if step == "exhaustive":
        return {"default": DEFAULT, "times_us": TIMES, "samples": 100}
    if step == "autotune":
        return {"seconds": 10.0, "config": DEFAULT}
    sizes = {"input_bytes": 8, "needed_bytes": 100, "extra_bytes": 90, "left_bytes": 0}
    return {"seconds": 2.0 + number, "config": BEST if number else NEAR, "time_us": 51.0, **sizes}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The steps that were run."""
    run: list[tuple[str, str]] = []

    class Child:
        def __init__(self, problem: str, _: dict[str, Any], step: str) -> None:
            self.step = problem, step

        def run(self) -> dict[str, Any]:
            run.append(self.step)
            return answer(self.step[1], run.count(self.step) - 1)

        def drop(self) -> None:
            """Nothing runs."""

    monkeypatch.setattr(sweep, "child", Child)
    monkeypatch.setattr(timing, "provenance", lambda: {"device": "a GPU"})
    monkeypatch.setattr(timing, "require_gpu", lambda: None)
    return run


def test_figures_are_made_of_what_was_measured(children: list[tuple[str, str]], tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    sweep.main(["--json", str(path), "--problems", "odd-rows"])
    assert [step for _, step in children] == ["ours", "autotune", *["ours"] * 4, "exhaustive"]
    held = json.loads(path.read_text())
    assert held["device"] == "a GPU"
    assert held["problems"]["odd-rows"] == {
        "ours_s": 4.0, "autotune_s": 10.0, "wall_over_autotune": 0.4, "regret": 0.01, "repeatability": 0.01,
        "over_default": -0.495, "stored_over_later": [0.0099, 0.02, 0.02, 0.02, 0.02], "autotune_regret": 1.0,
        "choices": 2, "extra_bytes_over_needed": -10, "left_bytes": 0,
    }  # fmt: skip
    assert held["summary"]["wall_over_autotune"] == {"geometric_mean": 0.4, "worst": 0.4}
    assert held["summary"]["regret"] == {"within_2_percent": 1.0, "worst": 0.01}


def test_it_goes_on_where_it_stopped(children: list[tuple[str, str]], tmp_path: Path) -> None:
    path = str(tmp_path / "sweep.json")
    sweep.main(["--json", path, "--problems", "global", "--parts", "exhaustive"])
    sweep.main(["--json", path, "--problems", "global", "tiles-odd", "--parts", "exhaustive"])
    assert children == [("global", "exhaustive"), ("tiles-odd", "exhaustive")]
    sweep.main(["--json", path, "--seconds", "-1"])
    assert len(children) == 2


def test_the_named_problems_are_problems_of_the_kernel() -> None:
    assert len(sweep.CHOSEN) >= 8
    assert set(sweep.CHOSEN) <= set(sweep.PROBLEMS)
    for arguments in sweep.PROBLEMS.values():
        assert FORWARD.space(FORWARD.problem(arguments), INTERPRETER)


def test_of_a_sample_every_second_problem_is_measured_as_its_gradient(
    children: list[tuple[str, str]], tmp_path: Path
) -> None:
    words = ["--json", str(tmp_path / "sweep.json"), "--parts", "cold", "--sweeps", "1"]
    sweep.main([*words, "--sample", "7:2", "--sample", "8:1"])
    names = ["seed-7-0", "seed-7-1 backward", "seed-8-0"]
    assert children == [(name, step) for name in names for step in ("ours", "autotune")]
