"""Links, folders and files that another user made in a folder like /tmp: nothing of this user's is touched by them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import calls
from tests.store.samples import sweep
from tunedb import cli
from tunedb.errors import SettingError, StoreUnavailable
from tunedb.store import current, open_store, upgrade
from tunedb.store.sql.backup import backup

OTHER = 54321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")
KEYS = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@here\n" * 100


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of this user's, with a file that no program may touch."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "keys").write_bytes(KEYS)
    return folder


def planted(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.lchown(path, OTHER, OTHER)


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All that is in the folder, by path, with its inode."""
    return {str(path): (path.read_bytes(), path.stat().st_ino) for path in sorted(folder.rglob("*")) if path.is_file()}


LINKS: dict[str, tuple[str, str, str]] = {  # the link, what it points to in `home`, and the store that is named
    "the file": ("a.db", "keys", "a.db"),
    "a file that is not there": ("a.db", "absent.db", "a.db"),
    "the folder": ("folder", ".", "folder/keys"),
    "a folder to be made": ("folder", "absent", "folder/a.db"),
    "the lock": ("a.db.lock", "keys", "a.db"),
    "the lock, not there": ("a.db.lock", "absent.lock", "a.db"),
    "the journal": ("a.db-journal", "keys", "a.db"),
    "the write-ahead log": ("a.db-wal", "keys", "a.db"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_store_behind_a_planted_link_is_refused_and_what_the_link_names_stays(
    kind: str, sticky: Path, home: Path, records: pytest.LogCaptureFixture
) -> None:
    name, target, store = LINKS[kind]
    planted(sticky / name, home / target)
    path, before = str(sticky / store), files(home)
    for work in (open_store, upgrade):
        with pytest.raises(StoreUnavailable, match=r"another user \(uid 54321\)"):
            work(path)
    tuner = calls.tuner(store=path)
    assert [calls.call(tuner, n)[:2] for n in range(2)] == [(2, "sweep")] * 2
    tuner.close()
    assert files(home) == before
    assert sum("another user" in record.getMessage() for record in records.records) <= 2  # the store, its locks
    assert sum("can't be used" in record.getMessage() for record in records.records) == 1


def test_a_planted_folder_of_locks_gets_no_lock_and_the_calls_are_answered(
    sticky: Path, home: Path, records: pytest.LogCaptureFixture
) -> None:
    planted(sticky / "a.db.locks", home)
    before = files(home)
    tuner = calls.tuner(store=str(sticky / "a.db"))
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    assert files(home) == before
    (record,) = (record for record in records.records if record.levelname == "WARNING")
    assert "No lock files in" in record.getMessage()


def test_a_store_of_another_user_in_a_sticky_folder_answers_nothing(
    sticky: Path, records: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sticky / "a.db"
    tuner = calls.tuner(store=str(path))
    calls.call(tuner)
    tuner.close()
    os.chown(path, OTHER, OTHER)
    records.clear()
    for settings in ({"store": str(path)}, {"store": str(sticky / "own.db"), "shared": f"sqlite:///{path}"}):
        tuner = calls.tuner(**settings)
        assert calls.call(tuner)[:2] == (2, "sweep")
        tuner.close()
    assert sum("another user" in record.getMessage() for record in records.records) == 2
    for command in (("ls", "--store", path), ("db", "check", "--store", path), ("doctor", "--store", path),
                    ("import", path, "--store", sticky / "own.db"),
                    ("sync", "--with", path, "--store", sticky / "own.db")):  # fmt: skip
        assert cli.run(list(map(str, command))) == 3
        said = capsys.readouterr()
        assert "another user" in said.err + said.out


@pytest.mark.parametrize("command", [["export", "-o"], ["export", "--format", "python", "-o"], ["db", "backup"]])
def test_a_command_writes_no_file_through_a_planted_link(
    command: list[str], sticky: Path, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    open_store(str(tmp_path / "tunedb.db")).put_sweep(sweep())
    planted(sticky / "out", home / "keys")
    planted(sticky / "new", home / "absent")
    planted(sticky / "folder", home)
    before = files(home)
    for target in ("out", "new", "folder/keys", "folder/absent"):
        assert cli.run([*command, str(sticky / target)]) in (2, 3)
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "another user" in err or "exists" in err
    assert files(home) == before
    (sticky / "mine").symlink_to(home / "mine.jsonl")  # our own link is what we want
    assert cli.run(["export", "-o", str(sticky / "mine")]) == 0
    assert (home / "mine.jsonl").is_file()


WRONG_FILES: dict[str, bytes] = {
    "keys": KEYS,
    "a shell's profile": b"export PATH=$HOME/bin:$PATH\n",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "two bytes": b"x\n",
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_mistyped_setting_that_names_another_file_leaves_that_file(
    kind: str, home: Path, records: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "keys"
    path.write_bytes(WRONG_FILES[kind])
    before = files(home)
    works: list[Callable[[str], object]] = [open_store, upgrade, current, backup]
    for work in works * 2:
        with pytest.raises((StoreUnavailable, SettingError), match="file of another kind, which stays as it is"):
            work(str(path))
    tuner = calls.tuner(store=str(path))
    assert calls.call(tuner)[:2] == (2, "sweep")
    tuner.close()
    assert sum("another kind" in record.getMessage() for record in records.records) == 1
    for command in ("upgrade", "check", "current"):
        assert cli.run(["db", command, "--store", str(path)]) == 3
    assert {name for name in files(home) if ".locks/" not in name} == set(before)
    assert files(home).items() >= before.items()
