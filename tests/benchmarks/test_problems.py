"""The sampler of pooling problems: the same for a seed, others for another, and of the stated distribution."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import problems
from benchmarks.pooling import bytes_moved
from tunedb.kernels.avg_pool import FORWARD

FIXED = len(problems.FIXED)
MANY = list(problems.sample(1, 2000))[FIXED:]


def share(of: Any) -> float:
    return sum(map(bool, of)) / len(MANY)


def test_a_seed_gives_the_same_problems_each_time_and_more_of_them_begin_with_fewer() -> None:
    assert list(problems.sample(5, 20)) == list(problems.sample(5, 20))
    assert list(problems.sample(5, 30))[: FIXED + 20] == list(problems.sample(5, 20))


def test_seeds_differ() -> None:
    one, other = ([p | {"id": ""} for p in problems.sample(seed, 30)][FIXED:] for seed in (5, 6))
    assert not any(problem in other for problem in one)


def test_the_fixed_problems_are_in_every_sample_and_once_in_several() -> None:
    assert list(problems.sample(9, 0)) == problems.FIXED
    both = problems.wanted(None, ["9:3", "10:2"])
    assert both[:FIXED] == problems.FIXED
    assert [p["id"] for p in both[FIXED:]] == ["seed-9-0", "seed-9-1", "seed-9-2", "seed-10-0", "seed-10-1"]


def test_every_problem_is_legal() -> None:
    for problem in MANY[:300]:
        FORWARD.problem(problem)  # raises for an argument that torch would refuse


def test_sizes_are_large_and_a_tenth_are_small() -> None:
    moved = [bytes_moved(problem) for problem in MANY if problem["layout"] != "general"]
    small = sum(count < 1.2 * problems.MIB for count in moved) / len(moved)
    assert 0.08 < small < 0.12
    assert all(count < 1.3 * problems.MIB or count > 45 * problems.MIB for count in moved)
    assert max(moved) < 1200 * problems.MIB


def test_dtypes_layouts_and_switches_have_their_shares() -> None:
    dtypes, layouts = (Counter(problem[name] for problem in MANY) for name in ("dtype", "layout"))
    for name in ("float32", "bfloat16", "float16"):
        assert 0.28 < dtypes[name] / len(MANY) < 0.36
    assert 0.02 < dtypes["float64"] / len(MANY) < 0.07
    assert 6 < layouts["rows"] / layouts["general"] < 30
    assert 0.12 < layouts["transposed"] / len(MANY) < 0.18
    assert 0.16 < share("ceil_mode" in problem for problem in MANY) < 0.24
    assert 0.16 < share("count_include_pad" in problem for problem in MANY) < 0.24


def test_windows_strides_and_paddings_are_of_every_kind() -> None:
    assert 0.4 < share(problem["kernel_size"] in problems.FREQUENT_KERNEL_SIZES for problem in MANY) < 0.6
    assert max(problem["kernel_size"] for problem in MANY) > 1000
    assert share(problem["stride"] == 1 for problem in MANY) > 0.25
    assert share(problem["stride"] == problem["kernel_size"] for problem in MANY) > 0.25
    assert share(problem["padding"] == 0 for problem in MANY) > 0.3
    assert share(problem["padding"] == problem["kernel_size"] // 2 for problem in MANY) > 0.3
    assert 0.4 < share(problem["shape"][-1] % 16 == 0 for problem in MANY) < 0.6


def test_the_command_prints_json_lines_of_the_dtypes_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    problems.main(["--seed", "3", "--count", "4", "--dtype", "float16"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["dtype"] for line in lines} == {"float16"}
    assert [line["id"] for line in lines][-4:] == [f"seed-3-{number}" for number in range(4)]


def test_a_file_and_samples_are_measured_together(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text('{"id": "one", "shape": [1, 1, 8], "kernel_size": 2}\n\n')
    assert [p["id"] for p in problems.wanted(tmp_path / "problems.jsonl", ["1:0"])][:2] == ["one", "kernelbench-44"]
