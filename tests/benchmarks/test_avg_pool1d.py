"""The benchmark of average pooling: which problems it measures, how it goes on, and its figures. Nothing is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import avg_pool1d, pool_chart, pool_results, pooling
from benchmarks.timing import summary
from tunedb.kernels.avg_pool import BACKWARD, FORWARD

SAMPLE = ["--sample", "3:2"]


def result(name: str, ours: float, copy: float, eager: float, direction: str = "forward") -> dict[str, Any]:
    """A result whose turns are all alike."""
    turns = {key: [value] * 15 for key, value in (("ours", ours), ("copy", copy), ("eager", eager))}
    return {
        "problem": {"id": name, "shape": [1, 1, 8], "kernel_size": 2}, "direction": direction, "device": "a GPU",
        "bytes": 2 * pool_results.LARGE_BYTES, "times": {key: summary(turn) for key, turn in turns.items()},
        "GB/s": 1000.0, "method": "launches", **pool_results.compared(turns), "config": {"ALGORITHM": "taps"},
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The problems that were measured, and whether the gradient was."""
    from benchmarks import ahead, timing

    asked: list[tuple[str, bool]] = []

    class Nothing:
        def __init__(self, *_: object) -> None:
            """Nothing is compiled."""

        def wait(self, _: int) -> None:
            """All is compiled."""

        def close(self) -> None:
            """Nothing is left."""

    def measured(arguments: dict[str, Any], backward: bool, *_: object) -> dict[str, Any]:
        if arguments["id"] == "broken":
            raise AssertionError("3 elements differ")
        asked.append((arguments["id"], backward))
        row = result(arguments["id"], 1.0, 1.0, 2.0, pool_results.DIRECTIONS[backward])
        return row | {"problem": arguments, "kernel_hash": (BACKWARD if backward else FORWARD).hash}

    monkeypatch.setattr(timing, "provenance", lambda: {"device": "a GPU"})
    monkeypatch.setattr(timing, "require_gpu", lambda: None)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr(pooling, "release_memory", lambda: None)
    monkeypatch.setattr(ahead, "CompiledAhead", Nothing)
    monkeypatch.setattr(avg_pool1d, "tune", lambda *_: None)
    monkeypatch.setattr(avg_pool1d, "measured", measured)
    return asked


def rows_of(path: Path) -> list[tuple[str, str]]:
    return [(row["problem"]["id"], row["direction"]) for row in map(json.loads, path.read_text().splitlines())]


def test_a_sample_is_measured_in_both_directions_and_only_once(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    words = [*SAMPLE, "--sample", "4:1", "--only", "kernelbench-44,seed-3-1,seed-4-0", "--json", str(tmp_path / "r")]
    avg_pool1d.main([*words, "--direction", "backward"])
    avg_pool1d.main(words)
    avg_pool1d.main(words)
    names = ["kernelbench-44", "seed-3-1", "seed-4-0"]
    assert asked == [(name, True) for name in names] + [(name, False) for name in names]
    assert rows_of(tmp_path / "r") == [(name, pool_results.DIRECTIONS[backward]) for name, backward in asked]


def test_a_result_of_another_kernel_is_measured_again(asked: list[tuple[str, bool]], tmp_path: Path) -> None:
    words = [*SAMPLE, "--only", "seed-3-0", "--direction", "forward", "--json", str(tmp_path / "r")]
    avg_pool1d.main(words)
    row = json.loads((tmp_path / "r").read_text()) | {"kernel_hash": "older"}
    (tmp_path / "r").write_text(json.dumps([row]))  # as older files have it
    avg_pool1d.main(words)
    assert asked == [("seed-3-0", False)] * 2
    assert rows_of(tmp_path / "r") == [("seed-3-0", "forward")] * 2
    assert len(pool_results.latest(pool_results.load(tmp_path / "r"))) == 1


def test_no_problem_is_begun_when_the_time_is_over(
    asked: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    avg_pool1d.main([*SAMPLE, "--seconds", "-1"])
    assert asked == []
    assert "14 of 14 results are left" in capsys.readouterr().out


def test_a_problem_that_fails_has_no_result_and_the_others_have_one(
    asked: list[tuple[str, bool]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text("\n".join(json.dumps({"id": name, "shape": [1, 1, 8]}) for name in ("broken", "sound")))
    avg_pool1d.main(["--problems", str(problems), "--direction", "forward"])
    assert asked == [("sound", False)]
    printed = capsys.readouterr().out
    assert "broken forward FAILED in measured of test_avg_pool1d.py" in printed
    assert "AssertionError: 3 elements differ" in printed


def test_an_unknown_function_to_compare_with_is_refused_before_anything_runs(
    asked: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        avg_pool1d.main([*SAMPLE, "--against", "copy,torch"])
    assert asked == []
    assert "got 'torch'" in capsys.readouterr().err


def test_what_a_problem_moves_is_read_once_and_written_once() -> None:
    problem = {"shape": [2, 3, 10], "kernel_size": 2, "dtype": "float16"}
    assert pooling.bytes_moved(problem) == pooling.bytes_moved(problem, backward=True) == 2 * 3 * 15 * 2


def test_of_every_second_column_the_others_are_read_too() -> None:
    problem = {"shape": [2, 3, 10], "kernel_size": 2, "dtype": "float16", "layout": "general"}
    assert pooling.bytes_moved(problem) == 2 * 3 * (20 + 5) * 2
    assert pooling.bytes_moved(problem, backward=True) == 2 * 3 * (10 + 10) * 2


def test_ratios_are_medians_of_pairs_with_intervals() -> None:
    ours = [float(time) for time in range(1, 16)]
    facts = pool_results.compared({"ours": ours, "copy": [1.0] * 15, "eager": [90.0], "compile": [2.0] * 15})
    assert facts["pairs"] == 15
    assert (facts["of_copy"], facts["of_copy_95"]) == (round(1 / 8, 4), [round(1 / 12, 4), 0.25])
    assert facts["fastest_other"] == "compile"
    assert (facts["over_fastest_other"], facts["over_fastest_other_95"]) == (4, [2, 6])
    assert (facts["more_us"], facts["more_us_95"]) == (6, [2, 10])


@pytest.mark.parametrize(
    ("ours", "method", "is_slower"),
    [(1.02, "launches", False), (1.04, "launches", True), (1.2, "graphs", False), (1.4, "graphs", True)],
)
def test_slower_than_another_is_beyond_three_percent_or_the_microseconds_in_graphs(
    ours: float, method: str, is_slower: bool
) -> None:
    row = result("one", ours, 1.0, 1.0) | {"method": method}
    assert pool_results.is_slower(row) == is_slower
    assert ("- forward one" in pool_results.summary([row])) == is_slower


def test_the_summary_has_the_large_problems_of_both_directions() -> None:
    rows = [result(str(number), 100.0, of_copy, 200.0) for number, of_copy in enumerate((90.0, 80.0, 70.0))]
    rows += [result("small", 1.0, 0.1, 2.0) | {"bytes": 1000}, result("one", 100.0, 45.0, 200.0, "backward")]
    lines = pool_results.summary(rows).splitlines()
    assert lines[0] == "| of a copy, 3 and 1 problems of 64 MiB and more | forward | backward |"
    assert lines[2:6] == [
        "| geometric mean | 0.796 | 0.450 |", "| nine tenths of them | 0.720 | 0.450 |",
        "| each of them | 0.700 | 0.450 |", "| slower than the fastest other | 0 of 4 | 0 of 1 |",
    ]  # fmt: skip


def test_two_runs_are_compared_by_what_they_reach_of_a_copy() -> None:
    before = [result("same", 100.0, 80.0, 200.0), result("slower", 100.0, 80.0, 200.0)]
    now = [result("same", 200.0, 160.0, 200.0), result("slower", 100.0, 76.0, 200.0), result("new", 1.0, 1.0, 1.0)]
    assert pool_results.before_and_after(now, before).splitlines()[2:] == [
        "| slower | forward | 0.800 | 0.760 | 0.950 |", "| same | forward | 0.800 | 0.800 | 1.000 |"
    ]  # fmt: skip


def test_the_algorithms_are_listed_with_what_they_won() -> None:
    rows = [result("a", 100.0, 90.0, 200.0), result("b", 100.0, 90.0, 200.0, "backward")]
    rows.append(result("c", 100.0, 80.0, 200.0) | {"config": {"ALGORITHM": "scans"}})
    lines = pool_results.algorithms(rows).splitlines()[2:]
    assert lines == ["| `taps` | 1 | 1 | 0.90 |", "| `scans` | 1 | 0 | 0.80 |"]


def test_older_results_are_one_list(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps([result("a", 1.0, 1.0, 1.0)], indent=1))
    assert [row["problem"]["id"] for row in pool_results.latest(pool_results.load(tmp_path / "old.json"))] == ["a"]
    assert pool_results.load(tmp_path / "missing.json") == []


def test_the_table_has_a_line_for_each_result() -> None:
    text = avg_pool1d.table([result("one", 100.0, 80.0, 200.0)])
    assert [line.split()[0] for line in text.splitlines()] == ["problem", "one"]


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [result("one", 100.0, 80.0, 200.0), result("one", 90.0, 80.0, 99.0, "backward")]
    pool_chart.plot(rows, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
