"""`tunedb doctor` and `tunedb db backup`, as they are typed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Answer, Cli, Kernel, put, run_forked
from tests.store.samples import sweep
from tunedb import settings
from tunedb.core.problem import Problem
from tunedb.store import open_store
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate

CLOSED = "postgresql://me:secret@127.0.0.1:1/x"


@pytest.fixture(autouse=True)
def private(tmp_path: Path) -> None:
    """The store's folder is for this user alone."""
    tmp_path.chmod(0o700)


def rows(answer: Answer) -> dict[str, Any]:
    return {row["check"]: row for row in answer.json}


def test_where_there_is_no_store_all_is_well_and_none_is_made(cli: Cli, tmp_path: Path) -> None:
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    assert "the first write makes it" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_json_is_an_object_for_each_check(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(sweep(problem=Problem.of("pool", n=1), kernel_hash=kernels["pool"].hash))
    answer = cli("doctor", "--format", "json")
    assert answer.code == 0
    assert all(set(row) == {"check", "status", "found", "fix"} for row in answer.json)
    assert all((row["status"], row["fix"]) == ("ok", "") for row in answer.json)
    assert {"settings", "store", "schema", "integrity", "dead rows", "sweep locks", "shared store"} <= set(rows(answer))
    assert cli("doctor", "--format", "csv").out.startswith("check,status,found,fix\nsettings,ok,")
    assert cli("doctor").out.split()[:4] == ["check", "status", "found", "fix"]


def test_dead_rows_are_counted_by_kernel_with_the_command_that_removes_them(
    cli: Cli, kernels: dict[str, Kernel]
) -> None:
    put(sweep(problem=Problem.of("pool", n=1), kernel_hash="0" * 64), sweep(problem=Problem.of("gone", n=1)))
    answer = cli("doctor", "--format", "json")
    assert answer.code == 1
    row = rows(answer)["dead rows"]
    assert (row["status"], row["fix"].partition(" --store ")[0]) == ("warn", "tunedb gc")
    assert row["fix"].endswith("tunedb.db")
    assert "1 of pool" in row["found"]
    assert "gone is not installed" in row["found"]


def test_something_wrong_around_the_store_is_exit_code_1(cli: Cli, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert cli("doctor").code == 1


@pytest.mark.parametrize("name", [".", "damaged.db", CLOSED, "nonsense://me:secret@host"])
def test_a_store_that_can_t_be_opened_is_exit_code_3(cli: Cli, name: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    answer = cli("doctor", "--store", name if "://" in name else tmp_path / name, "--format", "json")
    assert answer.code == 3
    assert rows(answer)["store"]["status"] == "bad"
    assert "secret" not in answer.out + answer.err


def test_a_schema_that_is_not_the_one_needed_is_exit_code_4(cli: Cli) -> None:
    put(sweep())
    with locate(settings.current().store).write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0000'")
    answer = cli("doctor", "--format", "json")
    assert answer.code == 4
    assert rows(answer)["schema"]["fix"].startswith("tunedb db upgrade")
    assert schema.current(settings.current().store) == "0000"


def test_settings_that_can_t_be_used_are_findings_and_the_rest_is_examined(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_MODE", "fast")
    monkeypatch.setenv("TUNEDB_BUDGET", "much")
    monkeypatch.setenv("TUNEDB_SHARED", CLOSED)
    answer = cli("doctor", "--format", "json")
    assert answer.code == 1
    told = [(row["found"], row["fix"]) for row in answer.json if row["check"] == "settings"]
    assert [found.partition(":")[0] for found, _ in told] == ["TUNEDB_MODE", "TUNEDB_BUDGET"]
    assert "unset TUNEDB_MODE" in told[0][1]
    assert rows(answer)["shared store"]["status"] == "bad"
    assert "secret" not in answer.out + answer.err


def test_a_backup_goes_beside_the_store_or_where_it_is_told(cli: Cli, tmp_path: Path) -> None:
    put(sweep(1), sweep(2))
    made = Path(cli("db", "backup", "--format", "json").json["backup"])
    assert made.name.startswith("tunedb.db.backup-")
    assert made.parent == tmp_path
    told = tmp_path / "told.db"
    assert cli("db", "backup", told).code == 0
    for path in (made, told):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(list(open_store(str(path)).iter_sweeps())) == 2
    answer = cli("db", "backup", told)
    assert (answer.code, "Give the backup a new name" in answer.err) == (2, True)


def test_a_backup_of_what_is_no_file_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    answer = cli("db", "backup", "--store", CLOSED)
    assert (answer.code, "pg_dump" in answer.err, "secret" in answer.err) == (2, True, False)
    answer = cli("db", "backup")
    assert (answer.code, "Found no file" in answer.err) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_without_torch_the_doctor_examines_all_but_the_kernels(tmp_path: Path) -> None:
    put(sweep())
    code = (
        "import sys; sys.modules |= {'torch': None, 'triton': None, 'numpy': None}  # importing them raises\n"
        "from tunedb.cli import run; sys.exit(run(['doctor', '--format', 'json']))"
    )
    answer = run_forked("-c", code)
    assert (answer.code, answer.err) == (0, "")
    found = rows(answer)
    assert {name for name, row in found.items() if row["status"] != "ok"} == {"dead rows"}
    assert found["dead rows"]["status"] == "skipped"


def test_a_variable_that_is_no_setting_is_named_with_the_one_it_is_like(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_MODES", "record")
    monkeypatch.setenv("TUNEDB_XYZZY", "1")
    answer = cli("doctor", "--format", "json")
    assert answer.code == 1
    found = [(row["status"], row["found"], row["fix"]) for row in answer.json if row["check"] == "settings"]
    assert found == [
        (
            "warn",
            "TUNEDB_MODES is not a setting of tunedb, and does nothing",
            "Did you mean TUNEDB_MODE? Else: unset TUNEDB_MODES",
        ),
        ("warn", "TUNEDB_XYZZY is not a setting of tunedb, and does nothing", "unset TUNEDB_XYZZY"),
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"poool": {"BLOCK": 1}}, "'poool', a kernel that is neither installed nor stored; did you mean pool?"),
        ({"pool": {"BLOK": 1}}, "TUNEDB_OVERRIDE: pool: expected one of the knobs BLOCK, got BLOK"),
        ({"pool": {"BLOCK": "x"}}, "TUNEDB_OVERRIDE: pool: BLOCK: expected a value like 128, got 'x'"),
        ({"pool": {"BLOCK": 256}}, None),
        ({"mine.kernel": {"BLOCK": 256}}, None),  # of a script: stored, but not installed
    ],
)
def test_an_override_that_no_kernel_takes_is_a_finding(
    cli: Cli, kernels: dict[str, Kernel], override: dict[str, Any], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_OVERRIDE", json.dumps(override))
    put(
        sweep(problem=Problem.of("pool", rows=1, kernel_size=1), kernel_hash=kernels["pool"].hash),
        sweep(problem=Problem.of("mine.kernel", n=1)),
    )
    row = rows(cli("doctor", "--format", "json"))["settings"]
    assert row["status"] == ("ok" if said is None else "bad" if "neither" not in said else "warn")
    assert (said or "each can be used") in row["found"]


@pytest.mark.parametrize("mode", ["read", "strict"])
def test_a_store_that_is_not_there_and_is_not_made_is_a_finding(
    cli: Cli, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_MODE", mode)
    answer = cli("doctor", "--format", "json")
    assert answer.code == 1
    assert rows(answer)["store"]["found"].startswith(f"There is no store at sqlite:///{settings.current().store}")


def test_the_fix_of_a_damaged_store_names_that_store(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"no database" * 1000)
    answer = cli("doctor", "--store", tmp_path / "junk.db", "--format", "json")
    assert f"tunedb db upgrade --store sqlite:///{tmp_path}/junk.db" in rows(answer)["store"]["fix"]
