"""Bundles on the command line: exported, named by every command that lists or explains, and never taken for stores."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.store.bundled import fixed, write
from tests.store.samples import DEVICE, sweep
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.sweep import Sweep

OTHER = Device("NVIDIA L4", "cuda", "sm_89", 58)
PROBLEM = ("avg_pool1d", "--shape", "2,4,64", "--kernel-size", "4")


def tuned(device: Device = INTERPRETER, **changes: Any) -> Sweep:
    """A sweep of PROBLEM with a config of today's kernel."""
    from tests.store.samples import trial
    from tunedb.kernels.avg_pool import FORWARD

    problem = FORWARD.problem({"shape": (2, 4, 64), "kernel_size": 4})
    config = FORWARD.default(problem, device)
    trials = (trial(1, config=config),)
    facts = {"problem": problem, "device": device, "kernel_hash": FORWARD.hash, "config": config, "trials": trials}
    return sweep(**{**facts, **changes})


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with one sweep of PROBLEM on the interpreter, named in the settings."""
    path = write(tmp_path / "shipped.db", [tuned()])
    monkeypatch.setenv("TUNEDB_BUNDLES", str(path))
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    settings.configure()
    return path


def test_export_writes_the_same_bundle_each_time(cli: Cli, tmp_path: Path) -> None:
    put(*fixed(3), sweep(9, device=OTHER))
    for name in ("a.db", "b.db"):
        answer = cli("export", "--format", "bundle", "-o", tmp_path / name, "--device", "h200")
        assert answer.code == 0, answer.err
        assert "3 sweeps written to" in answer.err
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o666 & ~_umask()  # others read it too
    assert cli("export", "--format", "bundle", "--all", "-o", tmp_path / "a.db").code == 0
    assert (tmp_path / "a.db").read_bytes() != (tmp_path / "b.db").read_bytes()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_what_answers_no_call_makes_no_bundle(cli: Cli, tmp_path: Path, stored: Sequence[Sweep]) -> None:
    assert cli("mark", stored[0].uid, "quarantine", "--reason", "wrong").code == 0
    answer = cli("export", "--format", "bundle", "-o", tmp_path / "a.db")
    assert (answer.code, (tmp_path / "a.db").exists()) == (1, False)
    assert "no file was written" in answer.err


@pytest.mark.parametrize(
    "words", [("--kernel", "nope"), ("--device", "h100"), ("--kernel", "nope", "--device", "h100")]
)
def test_a_name_that_nothing_has_is_said_once(
    cli: Cli, tmp_path: Path, stored: Sequence[Sweep], words: tuple[str, ...]
) -> None:
    answer = cli("export", "--format", "bundle", *words, "-o", tmp_path / "a.db")
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert len(lines) == len(set(lines))
    limits = dict(zip(words[::2], words[1::2], strict=True))
    named = "".join(
        f" {before} {limits[option]}" for option, before in (("--kernel", "of"), ("--device", "on")) if option in limits
    )
    assert f"No sweep{named} with a winner is stored in" in lines[-1]


def test_a_bundle_does_not_replace_a_store(cli: Cli, tmp_path: Path, stored: Sequence[Sweep]) -> None:
    before = (tmp_path / "tunedb.db").read_bytes()
    answer = cli("export", "--format", "bundle", "-o", tmp_path / "tunedb.db")
    assert (answer.code, (tmp_path / "tunedb.db").read_bytes()) == (2, before)
    assert "Name another file with -o" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "bundle", "-o", "-"], "name a file with -o"),
        (["--format", "jsonl", "--all", "-o", "x"], "--winners and --all are of --format bundle"),
        (["--format", "bundle", "-o", "absent/x.db"], "absent/x.db"),
    ],
)
def test_export_refuses_what_makes_no_bundle(cli: Cli, stored: Sequence[Sweep], words: list[str], said: str) -> None:
    answer = cli("export", *words)
    assert answer.code == 2
    assert said in answer.err


def of_bundles(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The doctor's findings about bundles, without that of tunedb's own."""
    return [one for one in findings if one["check"] == "bundle" and " of tunedb:" not in one["found"]]


def test_every_command_names_the_layer(cli: Cli, bundle: Path) -> None:
    (row,) = cli("ls", "--format", "json").json
    assert (row["layer"], row["bundle"]) == ("bundle", str(bundle))
    assert " bundle" in cli("ls").out.splitlines()[1]
    assert cli("show", row["uid"][:10], "--format", "json").json["layer"] == "bundle"
    assert cli("lookup", *PROBLEM, "--format", "json").json["layer"] == "bundle"
    (entry,) = cli("explain", *PROBLEM, "--format", "json").json
    assert (entry["verdict"], entry["layer"], entry["source"]) == ("chosen", "bundle", "stale")
    assert cli("stats", "--format", "json").json["layers"] == {"local": 0, "bundle": 1}
    (finding,) = of_bundles(cli("doctor", "--format", "json").json)
    assert (finding["status"], finding["found"]) == ("ok", f"{bundle}: 1 sweep of avg_pool1d on interpreter")
    assert "TUNEDB_BUNDLES" in cli("path", "-v").out
    assert not Path(settings.current().store).exists()  # nothing of it needs a store


def test_a_sweep_here_ranks_before_the_bundles(cli: Cli, bundle: Path) -> None:
    here = tuned()
    put(here)
    first, second = cli("explain", *PROBLEM, "--format", "json").json
    assert (first["uid"], first["layer"], first["why"]) == (here.uid, "local", "stale; not of a bundle" + _soft(first))
    assert (second["verdict"], second["layer"]) == ("in reserve", "bundle")
    assert "of a bundle" in second["why"]
    assert [row["layer"] for row in cli("ls", "--format", "json").json] == ["local", "bundle"]


def _soft(row: dict[str, Any]) -> str:
    return "".join(f"; {name}: expected {p['needed']}, got {p['found']}" for name, p in row["differs"].items())


def test_a_device_of_a_bundle_can_be_asked_about(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEDB_BUNDLES", str(write(tmp_path / "b.db", [tuned(OTHER), tuned(DEVICE)])))
    settings.configure()
    assert cli("lookup", *PROBLEM, "--device", "L4", "--format", "json").json["device"] == "NVIDIA L4"
    assert [row["device"] for row in cli("ls", "--device", "H200", "--format", "json").json] == ["NVIDIA H200"]


def test_a_bundles_sweep_can_be_quarantined_here(cli: Cli, bundle: Path) -> None:
    put(sweep(5))  # so that there is a store
    uid = next(row["uid"] for row in cli("ls", "--format", "json").json if row["layer"] == "bundle")
    answer = cli("mark", uid, "quarantine", "--reason", "slow here", "--format", "json")
    assert (answer.code, answer.json["wins"]) == (0, None), answer.err
    (entry, *_) = cli("explain", *PROBLEM, "--format", "json").json
    assert (entry["verdict"], "slow here" in entry["why"]) == ("passed over", True)
    assert cli("lookup", *PROBLEM).code == 1


def test_doctor_reports_a_bundle_that_is_left_out(cli: Cli, bundle: Path) -> None:
    bundle.write_bytes(bundle.read_bytes()[:5000])
    answer = cli("doctor", "--format", "json")
    (finding,) = of_bundles(answer.json)
    assert (answer.code, finding["status"]) == (1, "warn")
    assert str(bundle) in finding["found"]
    assert "tunedb export --format bundle" in finding["fix"]
    assert cli("ls", "--format", "json").json == []


@pytest.mark.parametrize("command", [("ls",), ("stats",), ("import",), ("db", "upgrade"), ("db", "check")])
def test_a_bundle_is_no_store(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = write(tmp_path / "b.db", fixed(2))
    before = path.read_bytes()
    answer = cli(*command, path) if command == ("import",) else cli(*command, "--store", path)
    assert answer.code == 3
    assert "it is a bundle, which is read only, and no store. Name it in TUNEDB_BUNDLES" in answer.err
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("b.db.corrupt")] == []


def test_explain_names_the_sibling_whose_winner_serves_a_call_that_may_not_tune(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Device("a twin", "interpreter", "interpreter", 2)
    monkeypatch.setenv("TUNEDB_BUNDLES", str(write(tmp_path / "b.db", [tuned(twin)])))
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    settings.configure()
    answer = cli("explain", *PROBLEM)
    assert answer.code == 1
    assert "a hint from a sweep on a twin (" in answer.err
