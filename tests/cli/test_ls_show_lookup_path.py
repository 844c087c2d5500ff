"""`ls`, `show`, `lookup`, `path` and `db`."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, put
from tests.store.samples import DEVICE, sweep
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.sweep import Sweep

ARGUMENTS = {"shape": (2, 4, 64), "kernel_size": 4}
PROBLEM = ("avg_pool1d", "--shape", "2,4,64", "--kernel-size", "4")
OTHER = Device("NVIDIA H100 PCIe", "cuda", "sm_90", 114)


def tuned(device: Device = INTERPRETER, **changes: Any) -> Sweep:
    """A sweep of PROBLEM that today's kernel takes its config from."""
    from tunedb.kernels.avg_pool import FORWARD

    problem = FORWARD.problem(ARGUMENTS)
    config = FORWARD.default(problem, device)
    return sweep(problem=problem, device=device, kernel_hash=FORWARD.hash, config=config, **changes)


@pytest.mark.parametrize("format", ["json", "table", "csv"])
def test_nothing_stored_lists_nothing_and_makes_nothing(cli: Cli, format: str, tmp_path: Path) -> None:
    answer = cli("ls", "--format", format)
    assert answer.code == 0
    assert answer.out.count("\n") == {"json": 1, "table": 0, "csv": 1}[format]
    assert "There is no store at" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_ls_prints_one_object_for_each_sweep(cli: Cli, stored: Sequence[Sweep]) -> None:
    rows = cli("ls", "--format", "json").json
    assert {row["uid"] for row in rows} == {sweep.uid for sweep in stored}
    row = next(row for row in rows if row["uid"] == stored[0].uid)
    assert row == {
        "uid": stored[0].uid,
        "kernel": "avg_pool1d",
        "problem": {"n": 1, "padding": None, "scale": 0.5, "dtype_name": "float32"},
        "device": "NVIDIA H200",
        "arch": "sm_90",
        "config": {"BLOCK": 128, "num_warps": 4},
        "time_us": 12.5,
        "default_time_us": 20.0,
        "speedup": 1.6,
        "status": "tuned",
        "complete": True,
        "finished": "2026-08-22T12:00:03.123456+00:00",
        "origin": "local",
        "host": "node7",
        "answers": True,
        "stale": None,  # of another device: its versions are not known here
        "pinned": False,
        "quarantined": False,
        "marks": [],
        "layer": "local",
        "bundle": None,
    }


def test_ls_as_csv_has_the_same_columns(cli: Cli, stored: Sequence[Sweep]) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("ls", "--format", "csv").out)))
    assert [row["uid"] for row in rows] == [row["uid"] for row in cli("ls", "--format", "json").json]
    assert list(rows[0]) == list(cli("ls", "--format", "json").json[0])


def test_a_uid_of_the_table_can_be_shown(cli: Cli, stored: Sequence[Sweep]) -> None:
    lines = cli("ls").out.splitlines()
    assert len(lines) == 3
    for line in lines[1:]:
        assert cli("show", line.split()[0]).code == 0
    assert "\x1b" not in "".join(lines)


def test_ls_filters(cli: Cli, stored: Sequence[Sweep]) -> None:
    put(sweep(3, device=OTHER))
    assert len(cli("ls", "--format", "json").json) == 3
    assert len(cli("ls", "--format", "json", "--device", "h100").json) == 1
    assert len(cli("ls", "--format", "json", "--device", DEVICE.name).json) == 2
    assert cli("ls", "--format", "json", "--kernel", "other").json == []
    assert cli("ls", "--format", "json", "--device", "4090").json == []
    several = cli("ls", "--device", "nvidia")
    assert several.code == 2
    assert all(device.name in several.err for device in (DEVICE, OTHER))


def test_show_prints_one_object_with_its_trials(cli: Cli, stored: Sequence[Sweep]) -> None:
    record = cli("show", stored[0].uid, "--format", "json").json
    assert record["uid"] == stored[0].uid
    assert record["environment"]["triton"] == "3.8.0"
    assert [trial["time_us"] for trial in record["trials"]] == [12.5, 12.5, 14.0]
    fields = "config status time_us p20_us p80_us samples compile_s registers spills shared_bytes"
    assert list(record["trials"][0]) == [*fields.split(), "outcome", "reference", "error"]
    table = cli("show", stored[0].uid).out
    assert "####" in table
    assert "BLOCK=256" in table


@pytest.mark.parametrize("uid", ["0" * 32, "not-a-uid"])
def test_show_of_an_unknown_uid_is_exit_code_1(cli: Cli, stored: Sequence[Sweep], uid: str) -> None:
    answer = cli("show", uid)
    assert (answer.code, answer.out) == (1, "")
    assert "tunedb ls" in answer.err


def test_lookup_of_what_is_not_stored_names_the_command(cli: Cli, tmp_path: Path) -> None:
    answer = cli("lookup", *PROBLEM, "--no-count-include-pad", "--format", "json")
    assert answer.code == 1
    assert answer.json is None
    assert "tunedb warm avg_pool1d --shape 2,4,64 --kernel-size 4 --no-count-include-pad" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_lookup_prints_one_object(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    stored = tuned()
    put(stored)
    record = cli("lookup", *PROBLEM, "--format", "json").json
    assert record == {
        "kernel": "avg_pool1d",
        "problem": stored.problem.plain(),
        "device": "interpreter",
        "config": stored.config and stored.config.plain(),
        "source": "stale",  # tuned with other versions than those that are here
        "time_us": 12.5,
        "default_time_us": 20.0,
        "speedup": 1.6,
        "uid": stored.uid,
        "finished": "2026-08-22T12:00:03.123456+00:00",
        "layer": "local",
        "bundle": None,
        "complete": True,
        "pinned": False,
        "passed_over": 0,
    }


def test_lookup_asks_about_a_device_that_is_not_here(cli: Cli) -> None:
    away = dataclasses.replace(DEVICE, name="NVIDIA H999")
    put(tuned(away), tuned(OTHER))
    record = cli("lookup", *PROBLEM, "--device", "h999", "--format", "json").json
    assert (record["device"], record["source"]) == (away.name, "store")
    assert cli("lookup", *PROBLEM, "--device", "nvidia").code == 2
    assert cli("lookup", *PROBLEM, "--device", "4090").code == 1


def test_lookup_tells_two_devices_of_one_name_apart(cli: Cli) -> None:
    half = dataclasses.replace(DEVICE, multiprocessors=66)
    put(tuned(DEVICE), tuned(half))
    answer = cli("lookup", *PROBLEM, "--device", DEVICE.name)
    assert answer.code == 2
    assert str(half) in answer.err
    assert cli("lookup", *PROBLEM, "--device", str(half)).code == 0


def test_path_prints_the_store(cli: Cli, tmp_path: Path) -> None:
    assert cli("path").out == f"{tmp_path / 'tunedb.db'}\n"
    assert cli("path", "--store", "postgresql://me:secret@host/x").out == "postgresql://me:***@host/x\n"
    rows = cli("path", "-v", "--format", "json").json
    assert rows[0] == {"setting": "TUNEDB_STORE", "value": str(tmp_path / "tunedb.db"), "source": "TUNEDB_STORE"}
    assert cli("path", "-v", "--store", "x.db").out.splitlines()[1].split() == ["TUNEDB_STORE", "x.db", "argument"]


def test_a_flag_lasts_for_one_command_only(cli: Cli, tmp_path: Path) -> None:
    cli("ls", "--store", tmp_path / "other.db")
    assert settings.current().store == str(tmp_path / "tunedb.db")


def test_db_makes_and_checks_a_store(cli: Cli, tmp_path: Path) -> None:
    assert cli("db", "current", "--format", "json").json["revision"] is None
    assert list(tmp_path.iterdir()) == []
    assert cli("db", "check").code == 4
    made = cli("db", "upgrade", "--format", "json").json
    assert made["before"] is None
    assert made["revision"] == made["needed"]
    assert cli("db", "check", "--format", "json").json["store"] == str(tmp_path / "tunedb.db")
    assert cli("db", "current", "--format", "json").json["revision"] == made["needed"]
    assert cli("ls", "--format", "json").out == "[]\n"


def test_the_table_has_no_colour_codes_off_a_terminal(cli: Cli, stored: Sequence[Sweep]) -> None:
    assert not sys.stdout.isatty()
    assert "\x1b[" not in cli("ls").out + cli("show", stored[0].uid).out
