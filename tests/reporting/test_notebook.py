"""The Python faces: stored sweeps as records, and the report."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path

import pytest

import tunedb
from tests.reporting.stores import A, B, filled, made, population
from tests.reporting.test_document import tables_of
from tests.store.samples import sweep, trial
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source
from tunedb.core.task import Choice

MANY_KNOBS = Config.of(**{f"BLOCK_SIZE_OF_AXIS_{n}": 2**n for n in range(20)})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """This test's store, with the population in it."""
    return filled(tmp_path / "tunedb.db")


def test_nothing_stored_is_no_sweep_and_makes_no_store(tmp_path: Path) -> None:
    assert tunedb.sweeps() == ()
    assert repr(tunedb.sweeps()) == "0 sweeps"
    assert "No sweep is stored" in tunedb.report().html()
    assert list(tmp_path.iterdir()) == []


def test_sweeps_are_frozen_and_come_with_their_trials(store: Path) -> None:
    stored = tunedb.sweeps()
    assert {one.uid for one in stored} == {one.uid for one in population()}
    assert all(one.trials for one in stored)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stored[0].time_us = 1.0  # type: ignore[misc]


def test_sweeps_are_chosen_by_kernel_and_device(store: Path) -> None:
    assert {one.problem.kernel for one in tunedb.sweeps(kernel="other")} == {"other"}
    assert len(tunedb.sweeps(["other", "pool"])) == len(population())
    assert {one.device for one in tunedb.sweeps(device="h100")} == {B}
    assert tunedb.sweeps("nothing") == ()
    with pytest.raises(tunedb.SettingError, match="H100"):
        tunedb.sweeps(device="nvidia")


def test_rows_are_flat_and_make_a_frame(store: Path) -> None:
    stored = tunedb.sweeps("pool", device=A.name)
    row = next(row for row in stored.rows() if row["uid"] == made(A, 2).uid)
    assert (row["problem.n"], row["time_us"], row["device"]) == (2, 30.0, A.name)
    assert row["config.BLOCK"] == (made(A, 2).config or {})["BLOCK"]
    assert not any(isinstance(value, dict | list | tuple) for row in stored.rows() for value in row.values())
    trials = [row for row in stored.trial_rows() if row["sweep"] == made(A, 2).uid]
    assert len(trials) == 16
    assert [row["time_us"] for row in trials if row["is_winner"]] == [made(A, 2).time_us]
    assert {row["note"] for row in trials if row["status"] == "wrong"} == {"3 of 8 outputs differ"}


def test_a_sweeps_text_is_short_and_its_html_shows_text_only(store: Path) -> None:
    stored = tunedb.sweeps("pool", device="a100")
    assert len(repr(stored[0])) < 240
    assert "NVIDIA A100" in stored._repr_html_()
    hostile = sweep(
        1,
        problem=Problem.of("k", a="<script>"),
        trials=(trial(128, error="<b>"),),
        config=None,
        status="failed",
        time_us=None,
    )
    for shown in (hostile._repr_html_(), tunedb.Sweeps([hostile])._repr_html_()):
        assert "<script>" not in shown
        assert "<b>" not in shown


def test_a_choice_fits_two_lines_however_many_knobs_it_has() -> None:
    done = sweep(1, config=MANY_KNOBS)
    for choice in (Choice(MANY_KNOBS, Source.STORE, done), Choice(MANY_KNOBS, Source.DEFAULT, failed=done)):
        assert len(repr(choice)) <= 160
        assert "\n" not in repr(choice)
    assert len(repr(done)) <= 320
    assert len(repr(trial(1, config=MANY_KNOBS))) <= 160


def test_many_sweeps_are_shown_in_part(store: Path) -> None:
    many = tunedb.Sweeps(sweep(n) for n in range(80))
    assert "and 20 more" in repr(many)
    assert "And 20 more" in many._repr_html_()
    assert len(many.rows()) == 80


def test_a_report_is_shown_and_saved(store: Path, tmp_path: Path) -> None:
    report = tunedb.report("pool", compare=("a100", "h100"))
    assert repr(report).startswith("Report('pool on 2 devices': 12 problems")
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert report.save(tmp_path / "r.html").read_text(encoding="utf-8") == report.html()
    assert report.save(tmp_path / "r.md").read_text(encoding="utf-8") == report.markdown()


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (("a100", "4090"), "4090"),
        (("triton=3.8.0", "a100"), "Expected two stores"),
        (("triton=1", "triton=2"), "Nothing is tuned with triton=1"),
        (("fuel=1", "fuel=2"), "Expected some of triton=...,"),
        (("a100", "no.db"), "no.db"),
    ],
)
def test_a_side_that_is_nothing_stored_is_refused_by_name(store: Path, sides: tuple[str, str], words: str) -> None:
    with pytest.raises(tunedb.SettingError, match=words):
        tunedb.report(compare=sides)


def test_two_stores_and_two_versions_are_compared(store: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other.db", [made(A, 0)])
    report = tunedb.report(compare=(str(store), str(other)))
    assert "A is tunedb.db, B is other.db" in report.markdown()
    versions = tunedb.report(compare=("triton=3.8.0,torch=2.13.0", "triton=3.6.0"))
    assert versions.facts.comparison is not None
    assert [str(pair.verdict) for pair in versions.facts.comparison.pairs].count("only B") == 1


def test_a_picture_is_a_specification_and_a_png_if_its_extra_is_there(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = tunedb.report().race()
    assert race is not None
    bundle = race._repr_mimebundle_()
    assert bundle["application/vnd.vegalite.v5+json"]["datasets"]["lines"][0]["line"] == "default's time"
    fake = types.SimpleNamespace(vegalite_to_png=lambda spec, scale: b"\x89PNG")
    monkeypatch.setitem(sys.modules, "vl_convert", fake)  # type: ignore[arg-type]
    assert race._repr_mimebundle_()["image/png"] == b"\x89PNG"
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # as if it were not installed
    assert "image/png" not in race._repr_mimebundle_()
    with pytest.raises(tunedb.SettingError, match="png"):
        race.png()


def test_a_race_is_that_of_the_sweep_that_is_asked_for(store: Path) -> None:
    race = tunedb.report().race(made(A, 2).uid)
    assert race is not None
    assert race.title == "pool n=2"
    assert [row["role"] for row in race.spec["datasets"]["trials"]][:2] == ["winner", "other config"]
    assert tunedb.report().race("0" * 32) is None


def test_a_comparison_of_stores_says_which_device_each_problem_is_on(store: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other.db", [made(A, 0), made(B, 0)])
    page = tunedb.report(compare=(str(store), str(other))).html()
    pairs = tables_of(page)["table-pairs"]
    assert [row[2] for row in pairs if row[1] == "n=0"] == [A.name, B.name]


def test_two_files_are_reported_without_a_local_store(tmp_path: Path) -> None:
    one, other = filled(tmp_path / "one.db", [made(A, 0)]), filled(tmp_path / "other.db", [made(A, 0), made(B, 0)])
    report = tunedb.report("pool", compare=(str(one), str(other)))
    assert report.intro[0] == "All of one.db and other.db."
    assert len(report.facts.answers) == 2
    with pytest.raises(tunedb.SettingError, match="Did you mean pool"):
        tunedb.report("poool", compare=(str(one), str(other)))
    assert not (tmp_path / "tunedb.db").exists()
