"""The report of the documentation: its sweeps, the page of several GPUs, and the kernels that state their limits."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import example_kernels, example_sweeps, report_page
from docs import generate
from tests.reporting.stores import A, B
from tests.store.samples import sweep, trial
from tunedb import registry
from tunedb.core.sweep import Sweep
from tunedb.store import dump, load, open_store


def swept(device: object) -> Sweep:
    """A sweep of a matrix product, which would take 0.4 µs to copy at 1e15 bytes/s."""
    problem = example_kernels.MATMUL.problem({"M": 8192, "N": 8192, "K": 8192})
    first, second, *_ = example_kernels.MATMUL.space(problem, A)
    trials = (trial(config=first, time_us=20.0), trial(config=second, time_us=10.0))
    return sweep(problem=problem, device=device, config=second, time_us=10.0, default_time_us=20.0, trials=trials)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sweeps of two GPUs, of which one has a copy rate."""
    for name, device, rate in (("a", A, {"bytes_per_s": 8e13, "measured": "2026-01-02T03:04:05+00:00"}), ("b", B, {})):
        lines = io.StringIO()
        dump([swept(device)], lines)
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.getvalue().encode()))
        (tmp_path / f"{name}.json").write_text(json.dumps({"device": device.name, "command": "make", **rate}))
    return tmp_path


def test_the_page_has_all_gpus_and_the_limits_of_those_with_a_copy_rate(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "site" / "report.html"
    assert report_page.write_page(page, folder)
    text = page.read_text(encoding="utf-8")
    assert "matmul on 2 devices" in text
    assert text.count("A copy of the bytes that it has to move takes 5.03 µs, 50% of its time.") == 1
    assert report_page.devices(folder) == [A.name, B.name]
    first = page.read_bytes()
    report_page.write_page(page, folder)
    assert page.read_bytes() == first
    assert "matmul" not in registry.kernel_names()  # only while the page is made


def test_without_sweeps_there_is_no_page(tmp_path: Path) -> None:
    assert not report_page.write_page(tmp_path / "report.html", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_guide_names_the_gpus_of_the_page_or_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "site" / "report-example.html"
    text = generate.example_report(page, folder)
    assert f"({A.name}, {B.name})" in text
    assert f'href="../{page.name}"' in text
    assert page.is_file()
    assert "tunedb report -o report.html" in generate.example_report(tmp_path / "none.html", tmp_path / "site")
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize("small", [True, False])
def test_every_problem_is_one_of_its_kernel(small: bool) -> None:
    wanted = example_sweeps.wanted(small=small)
    with example_sweeps.registered():
        kernels = {name: registry.kernel_named(name) for name in {line["kernel"] for line in wanted}}
        problems = [
            kernels[line["kernel"]].problem({name: value for name, value in line.items() if name != "kernel"})
            for line in wanted
        ]
    assert len(set(problems)) == len(wanted)
    counts = {name: sum(line["kernel"] == name for line in wanted) for name in kernels}
    assert small or counts == {"softmax": 8, "layer_norm": 8, "matmul": 8, "avg_pool1d": 20}


def test_sweeps_and_copy_rates_are_written_by_gpu(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "t.db")) as store:
        store.put_sweeps([swept(A), swept(B)])
    with example_sweeps.registered() as path:
        files = example_sweeps.write(tmp_path / "t.db", tmp_path / "out", path, "python -m benchmarks.example_sweeps")
    assert sorted(file.name for file in files) == [
        "nvidia-a100.json", "nvidia-a100.jsonl.gz", "nvidia-h100.json", "nvidia-h100.jsonl.gz",
    ]  # fmt: skip
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)
    packed = (tmp_path / "out" / "nvidia-h100.jsonl.gz").read_bytes()
    assert [one.device for one in load(io.BytesIO(gzip.decompress(packed))).sweeps] == [B]
    assert report_page.write_page(tmp_path / "report.html", tmp_path / "out")


def test_the_kernels_are_right_in_every_config(exhaustive: bool, tmp_path: Path) -> None:
    """In the interpreter, by the command itself: a sweep compares each config with torch's result."""
    if not exhaustive:
        # The interpreter runs every config of three kernels: too long for each run of `make test`.
        pytest.skip("takes 20 s: --exhaustive")
    words = ["-m", "benchmarks.example_sweeps", "--small", "--store", str(tmp_path / "t.db"), "--into", str(tmp_path)]
    subprocess.run([sys.executable, *words], env=os.environ | {"TRITON_INTERPRET": "1"}, check=True, timeout=300)
    (packed,) = tmp_path.glob("*.jsonl.gz")
    sweeps = load(io.BytesIO(gzip.decompress(packed.read_bytes()))).sweeps
    assert len(sweeps) == len(example_sweeps.wanted(small=True))
    assert {str(one.status) for each in sweeps for one in each.trials} <= {"ok", "pruned"}


@pytest.fixture
def browser() -> None:
    """Skip where no browser is installed."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        # A program of the system, which no package on PyPI brings; CI makes sure of it.
        pytest.skip("no Chromium is installed: apt-get install chromium")


@pytest.mark.usefixtures("browser")
def test_every_view_has_its_screenshot(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert report_page.write_page(page, folder)
    files = report_page.shoot(page, tmp_path / "images")
    views = ("summary", "problem", "knobs", "compare", "coverage", "narrow")
    assert [file.name for file in files] == [f"report-{view}.png" for view in views]
    for file in files:
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", content[16:24])
        assert (360 <= width <= 400) if file.stem == "report-narrow" else (900 < width <= 1400), file.name
        assert 100 < height < 3000, file.name


@pytest.mark.usefixtures("browser")
def test_a_part_that_is_not_shown_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "report.html"
    page.write_text(
        '<!doctype html><html data-drawn="yes"><p id="summary">Seen.</p><p id="hidden" hidden>Not.</p></html>'
    )
    monkeypatch.setattr(
        report_page,
        "SHOTS",
        [("seen", "#summary", "#summary", report_page.WIDE), ("half", "#summary", "#hidden", report_page.WIDE)],
    )
    with pytest.raises(SystemExit, match=r"shows no #hidden, which half\.png is to be of"):
        report_page.shoot(page, tmp_path / "images")
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["seen.png"]
