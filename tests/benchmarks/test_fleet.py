"""The benchmark of a host's GPUs: what it draws and concludes, and a run in interpreters, where times mean nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fleet
from tests.planted import NAME, register_lightly


def test_problems_are_drawn_by_their_seed_and_each_once() -> None:
    lines = list(fleet.drawn(16, 48))
    assert lines == list(fleet.drawn(16, 48)) != list(fleet.drawn(17, 48))
    assert Counter(line["kernel"] for line in lines) == {
        "fleet_matmul": 36, "avg_pool1d": 6, "avg_pool1d_backward": 6,
    }  # fmt: skip
    assert len({json.dumps(line) for line in lines}) == 48


def test_one_product_has_the_binaries_of_all_and_none_takes_much_of_the_time() -> None:
    lines = list(fleet.drawn(16, 48))
    few = fleet.binaries(lines)
    assert [line for line in few if line["kernel"] == fleet.MATRIX_NAME] == [
        {"kernel": fleet.MATRIX_NAME, "m": 256, "n": 256, "k": 256}
    ]
    assert len(few) == 13
    products = [line["m"] * line["n"] * line["k"] for line in lines if line["kernel"] == fleet.MATRIX_NAME]
    assert max(products) < sum(products) / 8
    assert all(line[side] % 16 == 0 for line in lines if line["kernel"] == fleet.MATRIX_NAME for side in "mnk")
    assert fleet.binaries([{"kernel": "another"}]) == [{"kernel": "another"}]


def test_the_summary_says_how_much_faster_and_how_good() -> None:
    rows = [
        {"ratio": ratio, "one": {"n": 1}, "all": {"n": n}} for n, ratio in ((1, 1.0), (2, 1.01), (2, 1.3), (2, 0.9))
    ]
    figures = {
        "one": {
            "seconds": 110.0, "start_s": 6.0, "end_s": 4.0, "sweeps_s": 80.0, "longest_s": 8.0, "swept_twice": 0,
        },
        "all": {"seconds": 35.0, "start_s": 6.0, "end_s": 4.0, "sweeps_s": 84.0, "longest_s": 9.0, "swept_twice": 1},
        "compare": rows,
    }  # fmt: skip
    assert fleet.summary(figures) == {
        "speedup": 3.14, "speedup_between_first_and_last_sweep": 4.0, "sweeps_slower_by": 0.05, "longest_share": 0.1,
        "swept_twice": 1, "compared": 4, "same_config": 1, "within_2_percent": 0.75, "worst_ratio": 1.3,
    }  # fmt: skip
    assert fleet.summary({"one": {"seconds": 1.0}}) == {}


def test_the_kernel_of_the_benchmark_makes_a_problem_of_each_line() -> None:
    from benchmarks.fleet_kernels import MATMUL

    line = next(line for line in fleet.drawn(16, 48) if line.pop("kernel") == fleet.MATRIX_NAME)
    problem = MATMUL.problem(line)
    assert {name: problem[name] for name in "mnk"} == line
    assert MATMUL.name == fleet.MATRIX_NAME


def test_the_stages_run_one_after_the_other_and_keep_what_others_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "planted"))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    problems: list[dict[str, Any]] = [{"b1": 0.03, "b2": 0.001}, {"b1": 0.001}, {"b4": "wrong"}]
    file, figures = tmp_path / "problems.jsonl", tmp_path / "figures.json"
    file.write_text("".join(json.dumps({"kernel": NAME, **problem}) + "\n" for problem in problems))
    words = ["--folder", str(tmp_path / "run"), "--problems", str(file), "--workers", "2", "--json", str(figures)]
    fleet.main([*words, "--stages", "prepare,one,all"])
    monkeypatch.setattr(fleet, "compare", lambda folder: {"origin": {"gpus": 4}, "rows": fleet.compared(folder)})
    monkeypatch.setattr("tunedb.registry.kernel_named", lambda name: __import__("tests.planted").planted.KERNEL)
    monkeypatch.setattr("tunedb.runtime.current_device.current_index", lambda: -1)
    fleet.main([*words, "--stages", "compare"])
    held = json.loads(figures.read_text())
    assert {stage: (held[stage]["problems"], held[stage]["without_config"]) for stage in ("one", "all")} == {
        "one": (3, 1), "all": (3, 1),
    }  # fmt: skip
    assert all(0 < held[stage]["start_s"] < held[stage]["seconds"] for stage in ("prepare", "one", "all"))
    assert held["all"]["sweeps_s"] > 0
    assert held["gpus"] == 4
    assert [(row["problem"], row["one"], row["ratio"]) for row in held["compare"]] == [
        ({"b1": 0.03, "b2": 0.001}, {"BLOCK": 2}, 1.0), ({"b1": 0.001}, {"BLOCK": 1}, 1.0),
    ]  # fmt: skip
    assert held["summary"]["within_2_percent"] == 1.0
    assert (held["all"]["swept_twice"], held["summary"]["swept_twice"]) == (0, 0)
    assert "speedup" in capsys.readouterr().out
    assert "interpreter 1" in (tmp_path / "run" / "all" / "progress.txt").read_text()
    assert os.environ["TUNEDB_STORE"].startswith(str(tmp_path))


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fleet.main(["--folder", str(tmp_path), "--stages", "one,two"])
