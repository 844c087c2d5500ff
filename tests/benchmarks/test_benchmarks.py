"""The benches' own tables, charts and checks, on made-up results: they measure nothing here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import avg_pool1d, compiled, timing
from benchmarks.timing import summary


def result(name: str, ours: float, copy: float, eager: float, direction: str = "forward") -> dict[str, Any]:
    times = {key: summary([value] * 5) for key, value in (("ours", ours), ("copy", copy), ("eager", eager))}
    return {
        "problem": {"id": name}, "direction": direction, "device": "a GPU", "bytes": 2 * avg_pool1d.LARGE_BYTES,
        "times": times, "GB/s": 1000.0, "of_copy": copy / ours, "over_fastest_other": ours / eager,
        "config": {"BLOCK_OUT": 512},
    }  # fmt: skip


def test_the_table_has_a_line_for_each_problem_and_the_mean_of_the_large_ones() -> None:
    small = result("small", 1.0, 0.1, 2.0) | {"bytes": 1000}
    text = avg_pool1d.table([result("one", 100.0, 80.0, 200.0), result("two", 100.0, 45.0, 200.0), small])
    assert [line.split()[0] for line in text.splitlines()] == ["problem", "one", "two", "small", "forward:"]
    assert text.splitlines()[-1].endswith("0.600 of copy")
    assert "BLOCK_OUT" not in text


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    avg_pool1d.plot(
        [result("one", 100.0, 80.0, 200.0), result("one", 90.0, 80.0, 99.0, "backward")], tmp_path / "c.png"
    )
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_problem_moves_is_input_and_output_once() -> None:
    assert avg_pool1d.problem_bytes({"shape": [2, 3, 10], "kernel_size": 2, "dtype": "float16"}) == 2 * 3 * 15 * 2


def test_a_command_is_kept_without_folders() -> None:
    assert timing._without_folders("copy,eager,some/where/file.py") == "copy,eager,file.py"


def test_a_command_names_a_file_or_a_folder() -> None:
    assert timing._module("some/where/benchmarks/host.py") == "benchmarks.host"
    assert timing._module("some/where/benchmarks/adopt/__main__.py") == "benchmarks.adopt"


def test_accesses_are_counted_by_width() -> None:
    found = compiled.widths(Counter({"LDG.E.128": 3, "LDG.E": 2, "LDG.E.U16": 1, "STG.E.64": 7}), "LDG")
    assert found == {"16": 3, "4": 2, "2": 1}


def test_a_problem_that_the_file_holds_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import timing
    from tunedb.kernels.avg_pool import FORWARD

    monkeypatch.setattr(timing, "provenance", lambda: {"device": "a GPU"})
    monkeypatch.setattr(timing, "require_gpu", lambda: None)
    asked = []

    def measured(arguments: dict[str, Any], *_: object) -> dict[str, Any]:
        asked.append(arguments["id"])
        return result(arguments["id"], 1.0, 1.0, 1.0) | {"problem": arguments, "kernel_hash": FORWARD.hash}

    monkeypatch.setattr(avg_pool1d, "measured", measured)
    problems, out = tmp_path / "problems.jsonl", tmp_path / "out.json"
    problems.write_text("\n".join(json.dumps({"id": name, "shape": [1, 1, 8]}) for name in "ab"))
    words = ["--problems", str(problems), "--json", str(out)]
    avg_pool1d.main([*words, "--only", "b"])
    avg_pool1d.main(words)
    assert asked == ["b", "a"]
    assert [one["problem"]["id"] for one in json.loads(out.read_text())] == ["b", "a"]
    assert "geometric mean over 2" in capsys.readouterr().out
