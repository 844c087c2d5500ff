"""The benchmark of untuned calls: defaults and borrowed configs over tuned ones, from stored trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import nearest
from benchmarks.problems import wanted
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial, now
from tunedb.kernels.avg_pool import BACKWARD, FORWARD
from tunedb.store import dump

H200 = Device("NVIDIA H200", "cuda", "sm_90", 132)
ENVIRONMENT = Environment("3.6.0", "2.11.0", "580", "events-2")


def swept(kernel: Any, arguments: dict[str, Any], default_us: float) -> Sweep:
    """A sweep that the last config of the space won, in 10 us."""
    problem = kernel.problem(arguments)
    default, *_, best = kernel.space(problem, H200)
    times: dict[Config, float] = {default: default_us, best: 10.0}
    trials = tuple(Trial(config, "ok", time, time, time, 20) for config, time in times.items())
    return Sweep(
        problem, H200, kernel.hash, ENVIRONMENT, "tuned", config=best, time_us=10.0, default_time_us=default_us,
        trials=trials, counts={"ok": 2}, finished=now(), host="a",
    )  # fmt: skip


def test_defaults_are_compared_with_what_the_sweeps_of_a_sample_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = wanted(None, ["7:2"])
    sweeps = [swept(FORWARD, problem, 11.0) for problem in problems]
    sweeps += [swept(BACKWARD, problems[0], 40.0), swept(FORWARD, {"shape": [1, 4, 100], "kernel_size": 4}, 90.0)]
    dump(sweeps, tmp_path / "sweeps.jsonl")
    words = ["--from", str(tmp_path / "sweeps.jsonl"), "--sample", "7:2", "--json", str(tmp_path / "out.json")]
    nearest.main(words)
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["avg_pool1d"]["summary"]["problems"] == len(problems)
    assert figures["avg_pool1d"]["summary"]["default_over_tuned"] == {"geometric_mean": 1.1, "worst": 1.1}
    assert figures["avg_pool1d_backward"]["summary"]["default_over_tuned"]["worst"] == 4.0
    assert "4.000  kernelbench-44" in capsys.readouterr().out


def test_a_default_that_no_sweep_tried_is_counted_apart() -> None:
    sweep = swept(FORWARD, {"shape": [1, 4, 100], "kernel_size": 4}, 11.0)
    row = nearest.leave_one_out([sweep])[0]
    assert row["default_over_tuned"] == 1.1
    assert nearest.summary([row, row | {"default_over_tuned": None}]) == {
        "problems": 2, "default_over_tuned": {"geometric_mean": 1.1, "worst": 1.1}, "default_was_not_timed": 1,
        "that_borrow": 0,
    }  # fmt: skip


def test_a_borrowed_config_is_compared_with_the_tuned_one() -> None:
    near = [swept(FORWARD, {"shape": [1, 4, length], "kernel_size": 4}, 12.0) for length in (4096, 4160)]
    figures = nearest.summary(nearest.leave_one_out(near))
    assert figures["that_borrow"] == 2
    assert figures["where_they_borrow"]["default_over_tuned"]["geometric_mean"] == 1.2
    assert nearest.summary(nearest.leave_one_out(near, cut_off=0.0))["that_borrow"] == 0
