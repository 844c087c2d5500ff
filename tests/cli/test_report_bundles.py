"""What only bundles have is in a report and in a comparison, for the command and for a program alike."""

from __future__ import annotations

from pathlib import Path

import pytest

import tunedb
from tests.cli.conftest import Cli
from tests.reporting.stores import OLD, A, B, filled, made
from tests.store.bundled import write
from tunedb import settings
from tunedb.core.sweep import Layer, Sweep


def bundle(monkeypatch: pytest.MonkeyPatch, path: Path, *sweeps: Sweep) -> None:
    """Name a bundle with these sweeps in the settings."""
    monkeypatch.setenv("TUNEDB_BUNDLES", str(write(path, sweeps, only_winners=False)))
    settings.configure()


def test_a_report_has_what_only_bundles_have(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "tunedb.db", [made(A, n) for n in range(3)])
    bundle(monkeypatch, tmp_path / "shipped.db", made(A, 0), *(made(B, n) for n in range(3)), made(B, 0, "ops.scale"))
    report = tunedb.report()
    assert report.title == "ops.scale, pool on 2 devices"
    assert len(report.facts.answers) - 1 == len(tunedb.sweeps()) == 7  # n=0 of A is in both, and one problem was missed
    assert report.facts.comparison is not None
    assert len(report.facts.comparison.pairs) == 4
    assert cli("report", "--format", "md").out == report.markdown()
    assert cli("report", "scale", "--device", "h100", "--format", "md").out.startswith("# ops.scale on NVIDIA H100")
    compared = tunedb.report(compare=("a100", "h100")).facts.comparison
    listed = cli("diff", "a100", "h100", "--all", "--format", "json").json
    assert compared is not None
    assert [row["verdict"] for row in listed] == [str(pair.verdict) for pair in compared.pairs]


def test_bundles_are_reported_without_a_store(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle(monkeypatch, tmp_path / "shipped.db", made(A, 0), made(B, 0), made(B, 1, environment=OLD))
    report = tunedb.report()
    assert {answer.sweep.layer for answer in report.facts.answers if answer.sweep} == {Layer.BUNDLE}
    answer = cli("report", "--format", "md")
    assert (answer.code, answer.out) == (0, report.markdown()), answer.err
    assert cli("report", "--compare", "a100", "h100", "--format", "md").code == 0
    assert cli("diff", "triton=3.8.0", "triton=3.6.0").code == 1  # they differ
    assert not (tmp_path / "tunedb.db").exists()


def test_neither_store_nor_bundle_is_an_empty_report(tmp_path: Path) -> None:
    report = tunedb.report()
    assert (report.title, len(report.facts.answers)) == ("Nothing is stored", 0)
    assert "No sweep is stored" in report.html()
    assert list(tmp_path.iterdir()) == []
