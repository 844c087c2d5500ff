"""The report as a document: the same bytes for the same store, nothing from a network, nothing that could run."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.stores import A, B, filled, made, many, population
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial
from tunedb.reporting.document import Report, make_report
from tunedb.reporting.facts import facts_of
from tunedb.reporting.labels import kernel_labels
from tunedb.store import open_store
from tunedb.store.stored import Stored

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>|`[x](javascript:y)\u2028"


def report_of(path: Path, *arguments: Any) -> Report:
    """The report of a store in a file."""
    store = open_store(f"sqlite:///{path}", migrate=False, create=False)
    assert store is not None
    with store:
        return make_report(Stored(store, None), *arguments)


def report_from(sweeps: list[Sweep]) -> Report:
    """The report of sweeps that need no store."""
    return Report("Many", (), facts_of(sweeps, {}, {}))


def data_of(page: str) -> dict[str, Any]:
    """What the script of a page reads."""
    (text,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(text))


def tables_of(page: str) -> dict[str, list[list[str]]]:
    """The tables of a page by their id: rows of texts, the head first."""

    class Parser(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tables: dict[str, list[list[str]]] = {}
            self.name, self.cell = "", False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "table":
                self.name = dict(attrs).get("id") or ""
                self.tables[self.name] = []
            elif tag == "tr":
                self.tables[self.name].append([])
            elif tag in ("td", "th"):
                self.tables[self.name][-1].append("")
            self.cell = tag in ("td", "th")

        def handle_endtag(self, tag: str) -> None:
            self.cell = False

        def handle_data(self, data: str) -> None:
            if self.cell:
                self.tables[self.name][-1][-1] += data

    parser = Parser()
    parser.feed(page)
    return parser.tables


def test_the_same_store_gives_the_same_bytes_wherever_it_lies_and_in_whatever_order_it_was_filled(
    tmp_path: Path,
) -> None:
    first = filled(tmp_path / "first.db")
    copy = shutil.copy(first, tmp_path / "copy.db")
    reversed_ = filled(tmp_path / "reversed.db", population()[::-1])
    pages = {report_of(path).html() for path in (first, first, copy, reversed_)}
    assert len(pages) == 1
    assert len({report_of(path).markdown() for path in (first, copy, reversed_)}) == 1


def test_a_page_names_nothing_that_it_would_load(tmp_path: Path) -> None:
    page = report_of(filled(tmp_path / "t.db")).html()
    without_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=\"([^#\"][^\"]*)\"", without_scripts) == ["data:,"]
    assert not re.search(r"@import|url\(", without_scripts)
    assert "sourceMappingURL" not in page
    assert str(tmp_path) not in page
    assert "node7" not in page


def test_the_summary_has_the_stores_figures(tmp_path: Path) -> None:
    report = report_of(filled(tmp_path / "t.db"))
    tables = tables_of(report.html())
    groups = {
        (row[0], row[1]): dict(zip(tables["table-groups"][0], row, strict=True)) for row in tables["table-groups"][1:]
    }
    on_a = groups["pool", A.name]
    gains = [made(A, n).speedup or 0.0 for n in range(4)] + [made(A, 4).speedup or 0.0]
    assert (on_a["tuned"], on_a["stale"], on_a["failed"]) == ("4", "1", "1")
    assert on_a["speed-up: geometric mean"] == f"{statistics.geometric_mean(gains):.2f}"
    assert on_a["speed-up: most"] == f"{max(gains):.2f}"
    assert (groups["pool", B.name]["quarantined"], groups["pool", B.name]["missed calls"]) == ("1", "7")
    rows = tables["table-problems"]
    assert len(rows) == 1 + 12 + 1  # the head, what has a sweep, what was missed
    gains_shown = [float(row[rows[0].index("speed-up")]) for row in rows[1:] if row[rows[0].index("speed-up")] != "-"]
    assert gains_shown == sorted(gains_shown, reverse=True)


def test_coverage_counts_each_state_and_lists_what_is_not_tuned(tmp_path: Path) -> None:
    tables = tables_of(report_of(filled(tmp_path / "t.db")).html())
    by_device = {(row[0], row[1]): row for row in tables["table-coverage"][1:]}
    assert by_device["pool", B.name][2:] == ["4", "0", "0", "1", "0", "1", "6"]
    untuned = [(row[0], row[3]) for row in tables["table-untuned"][1:]]
    assert untuned[0] == ("pool", "missed")  # calls asked for it
    assert sorted(state for _, state in untuned) == ["failed", "missed", "quarantined", "stale"]


def test_two_devices_are_compared_by_themselves_with_what_a_wrong_choice_costs(tmp_path: Path) -> None:
    report = report_of(filled(tmp_path / "t.db"))
    flips = tables_of(report.html())["table-flips"]
    assert len(flips) == 1 + 4
    a, b = made(A, 0), made(B, 0)
    row = next(row for row in flips[1:] if row[1] == "n=0")
    times_on_b = {trial.config: trial.time_us for trial in b.trials}
    assert row[4] == f"{(times_on_b[a.config] or 0.0) / (b.time_us or 1.0):.2f}"
    assert "A is NVIDIA A100, B is NVIDIA H100. They choose different configs for 4 of 4 problems" in report.markdown()


def test_one_device_says_how_to_compare(tmp_path: Path) -> None:
    path = filled(tmp_path / "t.db")
    assert "tunedb report --compare A B" in report_of(path, ["other"]).html()


def test_a_problem_has_all_trials_and_its_failures_by_reason(tmp_path: Path) -> None:
    races = data_of(report_of(filled(tmp_path / "t.db")).html())["races"]
    problem = next(one for one in races["problems"] if one["uid"] == made(A, 2).uid[:12])
    sweep = made(A, 2)
    assert len(problem["trials"]) == len(sweep.trials)
    first = dict(zip(races["fields"], problem["trials"][0], strict=True))
    assert sweep.config is not None
    assert races["configs"][first["config"]] == {name: str(value) for name, value in sweep.config.plain().items()}
    assert first["time"] == pytest.approx(sweep.time_us)
    assert problem["default"] == pytest.approx(sweep.default_time_us)
    assert [(row[0], row[2]) for row in problem["failures"]] == [("out_of_resources", 1), ("wrong", 1)]
    assert races["first"] == max(range(len(races["problems"])), key=lambda at: _gain(races["problems"][at], races))


def _gain(problem: dict[str, Any], races: dict[str, Any]) -> float:
    time = problem["trials"][0][races["fields"].index("time")]
    return problem["default"] / time if problem["default"] and problem["won"] else 0.0


def test_a_hostile_store_can_put_nothing_into_the_page(tmp_path: Path) -> None:
    sweep = made(A, 0)
    text = HOSTILE.replace("\u2028", "")
    bad = Trial(Config.of(**{text: text}), "compile_error", error=HOSTILE, uid="ab" * 16)  # type: ignore[arg-type]
    device = dataclasses.replace(A, name=text)
    hostile = dataclasses.replace(
        sweep, problem=Problem.of("pool", **{text: text}), device=device, trials=(*sweep.trials, bad)
    )
    report = report_of(filled(tmp_path / "t.db", [hostile, made(B, 1)]))
    page = report.html()
    assert len(re.findall(r"<script\b", page)) == 4  # the data, the two libraries, ours
    assert "<img" not in page
    assert data_of(page)["races"]["problems"]
    assert "<img" not in report.markdown().replace("\\<img", "")
    assert all(line.replace("\\|", "").count("|") in (0, *range(3, 30)) for line in report.markdown().splitlines())


def test_an_empty_store_is_reported_as_one(tmp_path: Path) -> None:
    open_store(str(tmp_path / "t.db")).close()
    report = report_of(tmp_path / "t.db")
    assert report.title == "Nothing is stored"
    assert "No sweep is stored" in report.html()
    assert not report.pictures()
    assert report.markdown().count("Nothing is stored") == 3


def test_ten_thousand_trials_are_less_than_five_megabytes() -> None:
    page = report_from(list(many())).html()
    assert sum(len(problem["trials"]) for problem in data_of(page)["races"]["problems"]) == 10_000
    assert len(page.encode()) < 5 * 2**20


def test_every_picture_has_a_table_with_a_copy_button(tmp_path: Path) -> None:
    page = report_of(filled(tmp_path / "t.db")).html()
    tables = set(re.findall(r'<table id="([\w-]+)"', page))
    assert set(re.findall(r'data-table="([\w-]+)"', page)) == tables
    assert {
        f"table-{name}" for name in ("groups", "problems", "trials", "failures", "pairs", "flips", "coverage")
    } <= tables
    assert len(tables) == len(re.findall(r"<table ", page))


def test_long_names_have_short_labels_that_differ() -> None:
    names = [f"company.kernels.v{n}.fused_rotary_embedding_and_kv_cache_write_kernel" for n in range(3)]
    labels = kernel_labels([*names, "company.pool", "other.pool", "softmax", "mine.softmax.row"])
    assert labels["softmax"] == "softmax"
    assert labels["mine.softmax.row"] == "row"
    assert (labels["company.pool"], labels["other.pool"]) == ("company.pool", "other.pool")
    assert len({labels[name] for name in names}) == 3
    assert all(len(label) <= 44 for label in labels.values())
    twins = kernel_labels([f"{'a' * 30}{n}{'b' * 30}" for n in range(2)])
    assert len(set(twins.values())) == 2


def test_many_long_names_are_told_apart_in_every_view() -> None:
    names = [f"company.kernels.v{n}.fused_rotary_embedding_and_kv_cache_write_kernel" for n in range(12)]
    report = report_from([made(A, 0, name) for name in names])
    summary, _, _, coverage = report.views()
    bars = {row["group"] for row in coverage.figures[0].spec["data"]["values"]}
    assert len(bars) == 12
    layer = summary.figures[0].spec["layer"][1]["encoding"]
    assert layer["color"]["legend"] is None  # twelve colours can't be told apart: a tooltip names the kernel
    assert {len(row["kernel"]) for row in summary.figures[0].spec["data"]["values"]} == {44}
