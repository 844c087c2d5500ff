"""The figures of average pooling in the documents: made of the results, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pool_docs, pool_results
from benchmarks.problems import FIXED, wanted
from benchmarks.timing import summary
from tunedb.kernels.avg_pool.algorithms import SERVES


def results() -> list[dict[str, Any]]:
    """Results of two samples, in which a copy takes 80 us and ours 100."""
    rows = []
    for problem in wanted(None, ["3:1", "4:1"]):
        for direction in pool_results.DIRECTIONS:
            turns = {"ours": [100.0] * 15, "copy": [80.0] * 15, "eager": [900.0], "compile": [200.0] * 15}
            seed = problem["id"].split("-")[1] if problem not in FIXED else None
            rows.append({
                "problem": problem, "seed": seed, "direction": direction, "bytes": 2**30, "method": "launches",
                "times": {name: summary(turn) for name, turn in turns.items()}, "config": {"ALGORITHM": "taps"},
                "device": "NVIDIA H200", "driver": "580", "torch": "2.11.0+cu130", "triton": "3.6.0",
                "date": "2026-11-26", **pool_results.compared(turns),
            })  # fmt: skip
    return rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the results, empty."""
    monkeypatch.setattr(pool_docs, "RESULTS", tmp_path)
    return tmp_path


def test_the_documents_hold_the_figures_of_the_results() -> None:
    for path in pool_docs.DOCUMENTS:
        assert pool_docs.filled(path.read_text()) == path.read_text(), "Run: python -m benchmarks.pool_docs"


def test_every_figure_has_a_place_and_every_place_a_figure() -> None:
    places = [name for path in pool_docs.DOCUMENTS for _, name, *_ in pool_docs.BLOCK.findall(path.read_text())]
    assert sorted(places) == sorted(pool_docs.FIGURES)


def test_every_algorithm_stands_in_the_guide() -> None:
    guide = pool_docs.DOCUMENTS[2].read_text()
    assert [name for name in SERVES if f"\n| `{name}` | " not in guide.split("<!--")[0]] == []


def test_a_document_keeps_its_figures_without_results(folder: Path) -> None:
    text = "# Title\n<!-- figures: pooling -->\nOld figures.\n<!-- end -->\nThe end.\n"
    assert pool_docs.filled(text) == text
    assert list(folder.iterdir()) == []


def test_figures_are_filled_in_and_filling_again_changes_nothing(folder: Path) -> None:
    lines = [json.dumps(row) for row in results()]
    (folder / pool_docs.SAMPLED).write_text("\n".join(lines) + "\n")
    text = "".join(f"<!-- figures: {name} -->\nOld figures.\n<!-- end -->\n" for name in ("pooling", "main-problem"))
    filled = pool_docs.filled(text)
    assert "| geometric mean | 0.800 | 0.800 |" in filled
    assert "Seeds 3 and 4. On one NVIDIA H200 (driver 580, torch 2.11.0, Triton 3.6.0), 2026-11-26: [" in filled
    assert "| torch, eager | 900 µs | 900 µs |" in filled
    assert "Old figures" not in filled
    assert pool_docs.filled(filled) == filled


def test_the_short_table_has_speeds_defaults_and_the_main_problem(folder: Path) -> None:
    (folder / pool_docs.SAMPLED).write_text("\n".join(map(json.dumps, results())))
    figures = {"summary": {"default_over_tuned": {"geometric_mean": 1.084, "worst": 1.5}}}
    (folder / pool_docs.UNTUNED).write_text(json.dumps({"avg_pool1d": figures, "avg_pool1d_backward": figures}))
    table = pool_docs.measured()
    assert table is not None
    cells = [line.split(" | ", 1)[1] for line in table.splitlines() if "---" not in line]
    assert cells[1:] == ["0.80; 0.80 | 0.80; 0.80 |", "0 of 7 | 0 of 7 |", "1.08 | 1.08 |",
                         "100, 200, 900 µs | 100, 200, 900 µs |"]  # fmt: skip


def test_results_of_older_forms_fill_nothing(folder: Path) -> None:
    (folder / pool_docs.UNTUNED).write_text(json.dumps({"summary": {}, "rows": []}))
    (folder / pool_docs.COMPILED).write_text(json.dumps({"rows": [{"kernel": "avg_pool1d"}]}))
    assert [pool_docs.defaults(), pool_docs.on_sm_89(), pool_docs.sweeps(), pool_docs.algorithms()] == [None] * 4


def test_algorithms_that_won_as_often_stand_in_the_order_of_their_names() -> None:
    names = ["taps", "rows", "vectors", "gather", "strips", "layers"]  # a set's order is another in each process
    rows = [{"config": {"ALGORITHM": name}, "direction": "forward", "of_copy": None, "bytes": 1} for name in names]
    lines = pool_results.algorithms([*rows, rows[0]]).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == ["taps", "gather", "layers", "rows", "strips", "vectors"]
