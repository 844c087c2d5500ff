"""Checks of a store's health: each fault is found, named and told how to fix, and nothing is changed by looking."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.samples import HASH, running, sweep
from tests.store.test_damage import hot_journal
from tests.store.test_filesystem import holding
from tunedb.core.sweep import now
from tunedb.store import garbage, open_store, upgrade
from tunedb.store.doctor import filesystem
from tunedb.store.doctor.examine import examine, examine_shared
from tunedb.store.doctor.finding import Finding
from tunedb.store.sql import schema
from tunedb.store.sql.engine import locate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one sweep, in a folder for the user alone."""
    tmp_path.chmod(0o700)
    path = tmp_path / "store.db"
    open_store(str(path)).put_sweep(sweep())
    return path


def look(url: object, current: str = HASH, **options: object) -> dict[str, Finding]:
    """The findings by check; the kernel `avg_pool1d` is installed, with this hash."""
    found = list(examine(str(url), hashes=lambda names: dict.fromkeys(names, current), **options))  # type: ignore[arg-type]
    assert len({one.check for one in found}) == len(found)
    return {one.check: one for one in found}


def wrong(found: dict[str, Finding]) -> list[str]:
    """The checks that found something; each says what mends it."""
    names = [name for name, one in found.items() if one.status in ("warn", "bad")]
    assert all(found[name].fix for name in names)
    return names


def files(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file with its content, mode and time of change; but for lock files, which some filelocks touch."""
    return {
        str(entry): (entry.read_bytes(), entry.stat().st_mode, entry.stat().st_mtime_ns)
        for entry in folder.rglob("*")
        if entry.is_file() and entry.suffix != ".lock"
    }


def test_nothing_is_wrong_with_a_sound_store_and_looking_changes_nothing(path: Path, tmp_path: Path) -> None:
    before = files(tmp_path)
    found = look(path)
    assert wrong(found) == []
    assert {one.status for one in found.values()} == {"ok"}
    assert list(found) == [
        "store", "file system", "permissions", "free space", "set aside", "opening lock", "sqlite", "integrity",
        "schema", "tables", "unfinished sweeps", "dead rows",
    ]  # fmt: skip
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["absent.db", "empty.db", "no/such/folder/store.db"])
def test_an_absent_store_is_no_fault_and_is_not_made(name: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "empty.db").touch(0o600)
    found = look(tmp_path / name)
    assert wrong(found) == []
    assert "the first write makes it" in found["store"].found
    assert [entry.name for entry in tmp_path.iterdir()] == ["empty.db"]


def test_access_for_others_and_none_for_the_user_is_found(tmp_path: Path) -> None:
    path = tmp_path / "tunedb" / "store.db"
    open_store(str(path)).put_sweep(sweep())
    path.chmod(0o644)
    path.parent.chmod(0o755)
    finding = look(path)["permissions"]
    assert finding.status == "warn"
    assert finding.found == f"{path.parent} has mode 0755, expected 0700; {path} has mode 0644, expected 0600"
    assert finding.fix == f"chmod 700 {path.parent} && chmod 600 {path}"
    path.chmod(0o400)
    path.parent.chmod(0o500)  # a read-only folder
    assert "mode 0500" in look(path)["permissions"].found
    subprocess.run(finding.fix, shell=True, check=True)
    assert wrong(look(path)) == []


@pytest.mark.parametrize(("mode", "status"), [(0o1777, "ok"), (0o755, "ok"), (0o777, "warn")])
def test_a_folder_that_is_not_the_stores_own_is_not_to_be_changed(path: Path, mode: int, status: str) -> None:
    path.parent.chmod(mode)
    finding = look(path)["permissions"]
    assert finding.status == status
    assert "chmod" not in (finding.fix or "")


@pytest.mark.parametrize("place", ["folder", "/dev/null"])
def test_what_is_no_file_is_not_to_be_changed(place: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "folder").mkdir(mode=0o755)
    found = look(tmp_path / place)
    assert found["store"].status == "bad"
    assert not any("chmod" in (finding.fix or "") for finding in found.values())


def test_a_damaged_file_and_those_set_aside_are_found(path: Path) -> None:
    good = path.read_bytes()
    path.write_bytes(b"no database" * 1000)
    found = look(path)
    assert wrong(found) == ["store"]
    assert found["store"].status == "bad"
    assert found["store"].fix.startswith("tunedb db upgrade")
    assert path.read_bytes() == b"no database" * 1000
    upgrade(str(path))
    found = look(path)
    assert wrong(found) == ["set aside"]
    subprocess.run(found["set aside"].fix.partition(": ")[2], shell=True, check=True)
    path.write_bytes(good)
    assert wrong(look(path)) == []


def test_damage_deep_in_the_file_and_rows_without_their_parents_are_found(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM device")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'miss'").fetchone()
    finding = look(path)["integrity"]
    assert (finding.status, finding.found) == ("bad", "rows that name others that are gone: 1")
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    assert look(path)["integrity"].status == "bad"


def test_a_killed_writer_s_journal_is_told_of_and_left_to_the_next_reader(path: Path) -> None:
    Path(f"{path}-journal").write_bytes(hot_journal(path))
    before = files(path.parent)
    found = look(path)
    assert wrong(found) == ["store"]
    assert "killed" in found["store"].found
    assert files(path.parent) == before
    schema.current(str(path))  # the command that it names
    assert wrong(look(path)) == []


@pytest.mark.parametrize("revision", ["0000", "0009"])
def test_another_schema_is_found(revision: str, stored_url: str) -> None:
    upgrade(stored_url)
    with locate(stored_url).write() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'")
    found = look(stored_url)
    assert "schema" in wrong(found)
    assert revision in found["schema"].found
    upgrading = "tunedb db upgrade" if revision == "0000" else "pip install --upgrade tunedb"
    assert found["schema"].fix.startswith(upgrading)
    assert "dead rows" not in found
    assert schema.current(stored_url) == revision


def test_tables_that_are_not_the_revision_s_are_found(stored_url: str) -> None:
    upgrade(stored_url)
    with locate(stored_url).write() as connection:
        connection.exec_driver_sql("DROP INDEX ix_mark_sweep_uid")
    assert look(stored_url)["tables"].status == "bad"


def test_wal_is_warned_of_where_sqlite_has_the_bug(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for version, status in (((3, 51, 2), "warn"), ((3, 51, 3), "ok")):
            monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
            finding = look(path)["sqlite"]
            assert (finding.status, "journal mode wal" in finding.found) == (status, True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    assert look(path)["sqlite"].status == "ok"


def test_a_held_opening_lock_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "PATIENCE_S", 0.1)
    with holding(Path(f"{path}.lock")):
        assert wrong(look(path)) == ["opening lock"]
    assert wrong(look(path)) == []


def test_little_free_space_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "MIN_FREE", 2**70)
    assert wrong(look(path)) == ["free space"]


def test_dead_rows_are_those_that_gc_removes(stored_url: str) -> None:
    upgrade(stored_url)
    old = dataclasses.replace(sweep(3), kernel_hash="dead" * 16)
    with open_store(stored_url) as store:
        store.put_sweeps([sweep(1), sweep(2), old])
        assert [garbage(one, {"avg_pool1d": HASH}, now()) for one in store.iter_sweeps()].count("dead") == 1
    finding = look(stored_url)["dead rows"]
    assert (finding.status, finding.fix.partition(" --store ")[0]) == ("warn", "tunedb gc")
    assert "1 of avg_pool1d" in finding.found
    assert "3 of avg_pool1d" in look(stored_url, "other")["dead rows"].found


def test_rows_of_a_kernel_that_is_not_installed_are_not_judged(path: Path) -> None:
    (finding,) = (one for one in examine(str(path), hashes=lambda names: {}) if one.check == "dead rows")
    assert (finding.status, finding.found) == ("ok", "avg_pool1d is not installed, and was not checked")


def test_kernels_that_can_t_be_loaded_skip_the_check(path: Path) -> None:
    def hashes(names: object) -> dict[str, str]:
        raise ModuleNotFoundError("No module named 'triton'")

    (finding,) = (one for one in examine(str(path), hashes=hashes) if one.check == "dead rows")
    assert (finding.status, finding.found.endswith("'triton'")) == ("skipped", True)


def test_a_check_that_breaks_is_a_finding(path: Path) -> None:
    def hashes(names: object) -> dict[str, str]:
        raise ZeroDivisionError("postgresql://me:secret@host/x")

    (finding,) = (one for one in examine(str(path), hashes=hashes) if one.check == "dead rows")
    assert (finding.status, finding.found) == ("bad", "ZeroDivisionError: postgresql://me:***@host/x")


def test_sweeps_that_nobody_finished_are_found_a_day_later(stored_url: str) -> None:
    upgrade(stored_url)
    begun = running(sweep(5))
    with open_store(stored_url) as store:
        store.start_sweep(begun)
    for later, status in ((timedelta(hours=23), "ok"), (timedelta(hours=25), "warn")):
        assert look(stored_url, now=lambda later=later: begun.started + later)["unfinished sweeps"].status == status


def test_a_postgresql_store_is_examined_too(postgresql_url: str) -> None:
    found = look(postgresql_url)
    assert wrong(found) == ["schema"]
    assert found["schema"].fix.startswith("tunedb db upgrade")
    upgrade(postgresql_url)
    found = look(postgresql_url)
    assert wrong(found) == []
    assert list(found) == ["store", "clock", "schema", "tables", "unfinished sweeps", "dead rows"]


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@host/x", "nonsense://me:secret@", "/dev/null", "~nobody-there/x.db"]
)
def test_what_is_no_store_is_a_finding(url: str) -> None:
    found = look(url)
    assert found["store"].status == "bad"
    assert found["store"].fix or "Expected" in found["store"].found
    assert "secret" not in str(found)


def test_no_shared_store_is_no_fault() -> None:
    assert [one.status for one in examine_shared(None)] == ["ok"]


def test_a_shared_store_s_schema_and_clock_are_examined(postgresql_url: str) -> None:
    found = {one.check: one for one in examine_shared(postgresql_url, deadline=20)}
    assert found["shared schema"].status == "bad"
    upgrade(postgresql_url)
    found = {one.check: one for one in examine_shared(postgresql_url, deadline=20)}
    assert {name: one.status for name, one in found.items()} == {
        "shared store": "ok", "shared schema": "ok", "shared clock": "ok",
    }  # fmt: skip


@pytest.mark.parametrize("skew", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_a_clock_that_is_off_is_found(skew: timedelta, postgresql_url: str) -> None:
    upgrade(postgresql_url)
    found = examine_shared(postgresql_url, deadline=20, now=lambda: datetime.now(UTC) + skew)
    clock = next(one for one in found if one.check == "shared clock")
    assert (clock.status, clock.found[:2]) == ("warn", "30" if skew > timedelta() else clock.found[:2])
    assert clock.fix


def test_a_shared_store_that_is_down_or_silent_is_found_in_bounded_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        closed = silent.getsockname()[1]
        (down,) = examine_shared(f"postgresql://me:secret@127.0.0.1:{closed}/x", deadline=10)
        silent.listen()
        began = time.monotonic()
        (late,) = examine_shared(f"postgresql://me:secret@127.0.0.1:{closed}/x", deadline=0.2)
        assert time.monotonic() - began < 2
    assert "refused" in down.found
    assert "not answered" in late.found
    assert {down.status, late.status} == {"bad"}
    assert "secret" not in f"{down} {late}"
