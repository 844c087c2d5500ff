"""`tunedb report`."""

from __future__ import annotations

import builtins
import sys
import types
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.cli.test_ls_show_lookup_path import tuned
from tests.reporting.stores import A, B, filled, made
from tests.store.bundled import write
from tests.store.samples import DEVICE, NOON, sweep
from tunedb import settings
from tunedb.kernels.avg_pool import FORWARD
from tunedb.store import dump, open_store
from tunedb.store.sql.copy_rates import CopyRate


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """This test's store, with sweeps of two devices."""
    return filled(tmp_path / "tunedb.db")


def test_a_page_is_written_whole_and_again_with_the_same_bytes(cli: Cli, store: Path, tmp_path: Path) -> None:
    answer = cli("report", "-o", tmp_path / "report.html")
    assert (answer.code, answer.out) == (0, "")
    assert str(tmp_path / "report.html") in answer.err
    first = (tmp_path / "report.html").read_bytes()
    assert first.startswith(b"<!doctype html>")
    assert cli("report", "-o", tmp_path / "report.html").code == 0
    assert (tmp_path / "report.html").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir() if "tunedb.db" not in path.name) == ["report.html"]


def test_the_page_goes_to_stdout_if_asked(cli: Cli, store: Path) -> None:
    assert cli("report", "-o", "-").out.startswith("<!doctype html>")


def test_markdown_by_format_or_by_name(cli: Cli, store: Path, tmp_path: Path) -> None:
    answer = cli("report", "--format", "md")
    assert answer.out.startswith("# other, pool on 2 devices\n")
    assert "| pool | NVIDIA A100 | 4 | 1 |" in answer.out
    cli("report", "-o", tmp_path / "summary.md")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == answer.out


def test_kernels_and_a_device_are_chosen(cli: Cli, store: Path) -> None:
    assert cli("report", "other", "--format", "md").out.startswith("# other on NVIDIA A100\n")
    assert "H100" not in cli("report", "pool", "--device", "a100", "--format", "md").out
    both = cli("report", "pool", "other", "--device", "a100", "--format", "md").out
    assert both.startswith("# other, pool on NVIDIA A100\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "tunedb report -o report.html"),
        (("nope", "--format", "md"), "Nothing is stored for nope. Stored kernels: other, pool."),
        (
            ("poool", "othr", "--format", "md"),
            "Nothing is stored for poool, othr. Did you mean pool? Did you mean other?",
        ),
        (("--device", "a10", "--device", "b100", "--format", "md"), "No stored device is called 'b100'. Did you mean"),
        (("pool", "--compare", "a100", "b100", "--format", "md"), "No stored device is called 'b100'. Did you mean"),
        (("--compare", "a100", "gone.db", "--format", "md"), "There is no file gone.db."),
        (("pool", "--device", "nvidia a100"), "Run: tunedb report pool --device 'nvidia a100' -o report.html\n"),
        (
            ("--compare", "triton=3.8.0", "triton=3.6.0"),
            "Run: tunedb report --compare triton=3.8.0 triton=3.6.0 -o report.html\n",
        ),
        (("nope",), "Nothing is stored for nope. Stored kernels: other, pool."),
        (("pool", "poool"), "Nothing is stored for poool. Did you mean pool?"),
        (("pool", "--device", "a 100"), "No stored device is called 'a 100'."),
        (("--compare", "triton=1", "triton=2"), "Nothing is tuned with triton=1. Stored: triton=3.6.0, triton=3.8.0."),
        (("--compare", "h100", "H100"), "Expected two different devices, got NVIDIA H100"),
        (("--compare", "h100", "nvidia h100", "--format", "md"), "twice. Stored devices: NVIDIA A100"),
        (("--compare", "triton=3.8.0", "triton=3.8.0", "--format", "md"), "got triton=3.8.0 twice. Stored: triton=3.6"),
        (("--compare", "tunedb.db", "./tunedb.db", "--format", "md"), "got tunedb.db twice. Name another one."),
        (("--device", "nvidia", "--format", "md"), "Give the whole name of one"),
        (("--compare", "a100", "4090", "--format", "md"), "4090"),
        (("-o", "."), "Name a file with -o"),
        (("-o", "missing/report.html"), "Can't write missing/report.html"),
        (("-o", "postgresql://me:secret@host/x"), "postgresql://me:***@host/x"),
    ],
)
def test_what_can_not_be_reported_is_a_line_that_says_why(
    cli: Cli, store: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    answer = cli("report", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_the_store_stands_in_the_command_that_is_to_be_run(cli: Cli, tmp_path: Path) -> None:
    filled(tmp_path / "my store.db")
    said = cli("report", "--store", f"{tmp_path}/my store.db").err
    assert f"Run: tunedb report -o report.html --store '{tmp_path}/my store.db'" in said


def test_two_places_are_reported_together_and_need_no_store(cli: Cli, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = filled(tmp_path / "a" / "t.db", [made(A, 0), made(A, 1, "ops.scale")])
    second = write(tmp_path / "b" / "t.db", [made(A, 0), made(B, 2)], only_winners=False)
    answer = cli("report", "--compare", first, second, "--format", "md")
    assert answer.code == 0, answer.err
    assert "All of a/t.db and b/t.db." in answer.out
    assert "A is a/t.db, B is b/t.db." in answer.out
    assert "| ops.scale | NVIDIA A100 |" in answer.out
    dump([made(A, 0)], tmp_path / "c.jsonl")
    answer = cli("report", "scale", "--compare", first, tmp_path / "c.jsonl", "--format", "md")
    assert "for 0 of 0 problems. Tuned 1 on A only." in answer.out
    assert "A is t.db, B is c.jsonl." in answer.out
    assert "H100" not in cli("report", "--device", "a100", "--compare", first, second, "--format", "md").out
    answer = cli("report", "scael", "--compare", first, second, "--format", "md")
    assert (answer.code, "Did you mean ops.scale?" in answer.err) == (2, True)
    assert not (tmp_path / "tunedb.db").exists()


def test_versions_are_compared_on_the_device_that_is_named(cli: Cli, store: Path) -> None:
    text = cli("report", "--device", "h100", "--compare", "triton=3.8.0", "torch=2.13.0", "--format", "md").out
    assert "They choose different configs for 0 of 4 problems." in text


def test_without_a_store_nothing_is_made(cli: Cli, tmp_path: Path) -> None:
    answer = cli("report", "-o", tmp_path / "report.html")
    assert answer.code == 1
    assert "There is no store at" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_pictures_need_their_extra(cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "vl_convert":
            raise ModuleNotFoundError(name=name)
        return before(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    answer = cli("report", "--png", tmp_path / "pictures")
    assert answer.code == 2
    assert "pip install 'tunedb[png]'" in answer.err


def test_pictures_are_written(cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import vl_convert  # noqa: F401
    except ModuleNotFoundError:  # what is drawn is then not looked at
        fake = types.SimpleNamespace(vegalite_to_png=lambda spec, scale: b"\x89PNG" + spec.encode())
        monkeypatch.setitem(sys.modules, "vl_convert", fake)  # type: ignore[arg-type]
    answer = cli("report", "--png", tmp_path / "pictures")
    assert answer.code == 0
    files = sorted((tmp_path / "pictures").iterdir())
    assert {file.name for file in files} >= {"coverage.png", "race.png", "scatter.png", "speedups.png"}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_the_share_of_the_copy_rate_is_shown_where_kernel_and_device_say_it(cli: Cli, tmp_path: Path) -> None:
    pooled = tuned(DEVICE, time_us=12.5)
    put(pooled, sweep(7, finished=NOON - timedelta(hours=1)))  # an older source of the kernel
    with open_store(settings.current().store) as store:
        store.copy_rates.put(DEVICE, CopyRate(1e9))
    moved = FORWARD.bytes_moved(pooled.problem)
    assert moved is not None
    share = moved / 1e9 * 1e6 / 12.5
    rows = {row["uid"]: row for row in cli("ls", "--limits", "--format", "json").json}
    assert rows[pooled.uid]["copy_share"] == pytest.approx(share)
    assert "copy_share" in cli("ls", "--limits").out.splitlines()[0]
    assert "copy_share" not in cli("ls", "--format", "json").json[0]
    record = cli("show", pooled.uid, "--format", "json").json
    assert (record["bytes_moved"], record["copy_share"]) == (moved, pytest.approx(share))
    assert record["gb_per_s"] == pytest.approx(moved / 12.5e-6 / 1e9)
    assert f"{share:.1%}" in cli("report", "--format", "md").out
    assert "copy of the bytes" in cli("report", "-o", "-").out
    other = [row for uid, row in rows.items() if uid != pooled.uid]
    assert [row["copy_share"] for row in other] == [None]  # a problem that the kernel does not know
