"""Backups: whole, of one moment, made while others work, and before a migration by themselves."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import forked
from tests.store.revisions import HEAD, LATER
from tests.store.samples import failed, sweep
from tests.store.test_schema import second_revision
from tunedb.errors import SettingError, StoreCorrupt, StoreError, StoreUnavailable
from tunedb.store import check, current, open_store, upgrade
from tunedb.store.sql.backup import backup, copy
from tunedb.store.sql.engine import locate


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two sweeps."""
    path = tmp_path / "store.db"
    open_store(str(path)).put_sweeps([sweep(1), failed(2)])
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.backup-*"))


def test_a_backup_is_a_store_with_all_rows(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    before = names(tmp_path)
    assert backup(str(path), target) == target
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(tmp_path) == sorted([*before, "copy.db"])
    check(str(target))
    kept, copied = (list(open_store(str(place)).iter_sweeps(with_trials=True)) for place in (path, target))
    assert copied == kept
    assert len(copied) == 2


def test_a_backup_can_take_the_place_of_the_store(path: Path, tmp_path: Path) -> None:
    target = backup(str(path))
    path.write_bytes(b"no database" * 100)
    target.rename(path)
    assert len(list(open_store(str(path)).iter_sweeps())) == 2


def test_it_goes_beside_the_store_where_no_target_is_named(path: Path) -> None:
    first, second = backup(f"sqlite:///{path}"), backup(str(path))
    assert backups(path) == [first, second]


@pytest.mark.parametrize("there", ["file", "dangling link", "folder"])
def test_nothing_is_overwritten(there: str, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "taken"
    if there == "file":
        target.write_text("dear")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    with pytest.raises(SettingError, match="exists"):
        backup(str(path), target)
    assert names(tmp_path) == before
    assert there != "file" or target.read_text() == "dear"


def test_a_backup_holds_what_was_committed_when_another_is_in_the_middle_of_a_write(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trial")
        target = backup(str(path))
        writer.execute("ROLLBACK")
    (first, _) = open_store(str(target)).iter_sweeps(with_trials=True)
    assert len(first.trials) == 3


def test_backups_made_while_another_writes_are_each_whole(path: Path) -> None:
    store, written, stop = open_store(str(path)), [2], threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.put_sweep(sweep(written[0] + 1))
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            acknowledged = written[0]
            found = list(open_store(str(backup(str(path)))).iter_sweeps(with_trials=True))
            assert len(found) >= acknowledged
            assert all(len(one.trials) == 3 for one in found)
    finally:
        stop.set()
        writer.join()
    assert written[0] > 2


def test_what_stands_in_a_write_ahead_log_alone_is_in_the_backup(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("SELECT * FROM sweep").fetchall()  # from now on it is a reader, for which the log is kept
        open_store(str(path)).put_sweep(sweep(3))
        assert Path(f"{path}-wal").stat().st_size > 0
        target = backup(str(path))
    assert len(list(open_store(str(target)).iter_sweeps())) == 3


def test_a_backup_does_not_drop_a_lock_that_this_process_holds(path: Path) -> None:
    code = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        backup(str(path))
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "database is locked" in other.stderr


def test_a_store_that_stays_locked_is_not_waited_for_for_ever(path: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="Another process holds it"):
            copy(locate(str(path), busy_timeout=0.1), tmp_path / "copy.db")
    assert not [name for name in names(tmp_path) if name.startswith(("copy", "."))]


def test_a_full_disk_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    code = f"""
import resource
from tunedb.errors import StoreUnavailable
from tunedb.store.sql.backup import backup
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    backup({str(path)!r}, {str(tmp_path / "copy.db")!r})
except StoreUnavailable as error:
    print(error)
"""
    before = names(tmp_path)
    done = forked.run(["-c", code], libraries=forked.WITH_TUNEDB)
    assert done.stdout.startswith(f"Can't use sqlite:///{path}: ")
    assert names(tmp_path) == before


def test_a_damaged_store_is_not_backed_up_as_if_it_were_well(path: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sweep'").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    before = names(tmp_path)
    with pytest.raises(StoreCorrupt, match="damaged"):
        backup(str(path))
    assert names(tmp_path) == before


def test_what_is_no_file_is_refused_with_what_to_do(postgresql_url: str) -> None:
    for url, told in ((postgresql_url, "pg_dump"), ("sqlite://", "in memory")):
        with pytest.raises(SettingError, match=told):
            backup(url)


def test_where_nothing_is_to_be_copied_or_written_to_the_failure_says_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Found no file"):
        backup(str(tmp_path / "absent.db"))
    with pytest.raises(StoreUnavailable, match=r"Can't write .*absent/copy\.db: No such file"):
        backup(str(path), tmp_path / "absent" / "copy.db")
    assert not (tmp_path / "absent.db").exists()


def test_an_upgrade_of_an_older_file_backs_it_up_first(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    second_revision(tmp_path, monkeypatch)
    with caplog.at_level(logging.INFO, logger="tunedb"):
        open_store(str(path))
        open_store(str(path))
        upgrade(str(path))
    (made,) = backups(path)
    assert (current(str(made)), current(str(path))) == (HEAD, LATER)
    with contextlib.closing(sqlite3.connect(made)) as connection:
        assert connection.execute("SELECT count(*) FROM sweep").fetchone() == (2,)
    (record,) = (record.getMessage() for record in caplog.records if "alembic" not in record.name)
    assert str(made) in record


def test_making_a_store_backs_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for name in ("absent.db", "empty.db"):
        open_store(str(tmp_path / name))
    assert not [name for name in names(tmp_path) if "backup" in name]


def test_without_a_backup_there_is_no_upgrade(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"""
import pathlib, resource, pytest
from tests.store.test_schema import second_revision
from tunedb.errors import StoreUnavailable
from tunedb.store import upgrade
with pytest.MonkeyPatch.context() as patch:
    second_revision(pathlib.Path({str(tmp_path)!r}), patch)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        upgrade({str(path)!r})
    except StoreUnavailable as error:
        print(error)
"""
    done = forked.run(["-c", code], libraries=forked.WITH_TUNEDB)
    assert done.stdout.startswith(f"Schema {HEAD} is not upgraded, as the store can't be backed up: ")
    assert (current(str(path)), backups(path)) == (HEAD, [])
    second_revision(tmp_path / "again", monkeypatch)
    upgrade(str(path))
    assert (current(str(path)), len(backups(path))) == (LATER, 1)


def test_an_upgrade_that_fails_leaves_no_backup_of_what_is_still_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_revision(tmp_path, monkeypatch, last='op.execute("SELECT * FROM nowhere")')
    for _ in range(2):
        with pytest.raises(StoreError, match="nowhere"):
            open_store(str(path))
    assert (current(str(path)), backups(path)) == (HEAD, [])
