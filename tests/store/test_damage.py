"""Damaged files: set aside once, with all that belongs to them, and the store starts afresh."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forked
from tests.store.samples import DEVICE, HASH, sweep
from tunedb.errors import StoreCorrupt, StoreError
from tunedb.store import check, current, open_store, upgrade

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda good: b"this is no database\n" * 100,
    "a few bytes": lambda good: b"\0\1\2",
    "git lfs pointer": lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "random": lambda good: random.Random(1).randbytes(len(good)),
    "truncated": lambda good: good[: len(good) // 2],
    "truncated to its header": lambda good: good[:100],
    "no header": lambda good: bytes(100) + good[100:],
    "no tables": lambda good: good[:100] + bytes(4096 - 100) + good[4096:],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one sweep."""
    path = tmp_path / "store.db"
    open_store(str(path)).put_sweep(sweep())
    return path


def aside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if ".corrupt-" in entry.name)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_set_aside_and_a_fresh_store_works(
    kind: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = DAMAGE[kind](path.read_bytes())
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING, logger="tunedb"):
        store = open_store(str(path))
    assert store.put_sweep(sweep(2))
    check(str(path))
    (name,) = aside(path)
    assert (path.parent / name).read_bytes() == damaged
    (record,) = caplog.records
    assert record.name == "tunedb"
    assert name in record.getMessage()
    open_store(str(path))
    assert aside(path) == [name]


@pytest.mark.parametrize("kind", DAMAGE)
def test_who_only_reads_leaves_a_damaged_file_where_it_is(kind: str, path: Path) -> None:
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    before = path.read_bytes()
    readers: list[Callable[[str], object]] = [current, check, lambda url: open_store(url, create=False)]
    for read in readers:
        with pytest.raises(StoreCorrupt, match=r"damaged .*tunedb db upgrade"):
            read(str(path))
    assert (path.read_bytes(), aside(path)) == (before, [])
    assert upgrade(str(path)) is None
    assert len(aside(path)) == 1


def test_what_belongs_to_a_damaged_file_goes_with_it(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").write_bytes(b"left behind")
    open_store(str(path)).put_sweep(sweep(2))
    others = {entry.name for entry in path.parent.iterdir()} - set(aside(path))
    assert others == {"store.db", "store.db.lock"}  # SQLite removed the two, or they were renamed


def test_a_hot_journal_beside_a_damaged_file_does_not_reach_the_fresh_one(path: Path) -> None:
    journal = hot_journal(path)
    path.write_bytes(b"no database" * 1000)
    Path(f"{path}-journal").write_bytes(journal)
    store = open_store(str(path))
    store.put_sweep(sweep(2))
    check(str(path))
    assert not Path(f"{path}-journal").exists()
    store = open_store(str(path))
    assert len(list(store.iter_sweeps(with_trials=True))) in (1, 2)  # SQLite may have mended the file by its journal


def test_a_hot_journal_of_a_killed_writer_is_rolled_back(path: Path) -> None:
    before = path.read_bytes()
    journal = hot_journal(path)
    Path(f"{path}-journal").write_bytes(journal)
    store = open_store(str(path))
    assert len(list(store.iter_sweeps())) == 1
    assert store.put_sweep(sweep(2))
    assert aside(path) == []
    assert len(before) <= path.stat().st_size


def test_an_orphaned_journal_does_not_reach_a_fresh_store(path: Path) -> None:
    journal = hot_journal(path)
    path.unlink()
    Path(f"{path}-journal").write_bytes(journal)
    open_store(str(path)).put_sweep(sweep(2))
    check(str(path))
    assert aside(path) == []


def test_an_empty_file_is_a_fresh_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    assert current(str(path)) is None
    assert open_store(str(path), create=False) is None
    assert path.stat().st_size == 0
    assert open_store(str(path)).put_sweep(sweep())
    assert aside(path) == []


def test_many_processes_set_a_damaged_file_aside_once(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    code = f"from tunedb.store import open_store; open_store({str(path)!r})"
    processes = [forked.Program(["-c", code], libraries=forked.WITH_TUNEDB) for _ in range(4)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert len(aside(path)) == 1, errors
    assert sum("was damaged" in text for text in errors) == 1, errors


def test_damage_deep_in_the_file_fails_one_call_and_the_next_finds_a_fresh_store(path: Path) -> None:
    store = open_store(str(path))
    store.put_sweeps([sweep(n) for n in range(100)])
    reader = open_store(str(path), create=False)
    assert reader is not None
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sweep'").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        list(reader.iter_sweeps())
    assert aside(path) == []
    with pytest.raises(StoreCorrupt):
        list(store.iter_sweeps())
    assert len(aside(path)) == 1
    assert list(store.iter_sweeps()) == []
    assert store.put_sweep(sweep())


@pytest.mark.parametrize(
    "change",
    [
        "config = 'BLOCK: 128'",
        "counts = '[1]'",
        "environment = '[]'",
        f"environment = '{'[' * 100_000}'",
        "time_us = 9e999",
        "uid = '../../etc/passwd'",
    ],
)
def test_a_row_that_makes_no_sense_is_passed_over_and_said_once(
    path: Path, change: str, records: pytest.LogCaptureFixture
) -> None:
    other = sweep(2)
    open_store(str(path)).put_sweep(other)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE sweep SET {change} WHERE uid <> ?", [other.uid])
        (uid,) = connection.execute("SELECT uid FROM sweep WHERE uid <> ?", [other.uid]).fetchone()
    connection.close()
    store = open_store(str(path))
    assert store.get_sweeps(sweep().problem, DEVICE, HASH) == []
    assert [found.uid for found in store.iter_sweeps()] == [other.uid]
    (record,) = records.records
    assert f"Sweep {uid} can't be read" in record.message
    with pytest.raises(StoreError if len(uid) == 32 else LookupError) as caught:
        store.get_sweep(uid)
    assert not isinstance(caught.value, StoreCorrupt)
    assert aside(path) == []


def hot_journal(path: Path) -> bytes:
    """The journal of a writer that was killed; the file itself is left half written."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA cache_size=1")  # so that changed pages reach the file before the commit
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE trial SET error = hex(randomblob(20000))")
        journal = Path(f"{path}-journal").read_bytes()
        shutil.copy(path, f"{path}.copy")
        connection.execute("ROLLBACK")
    connection.close()
    Path(f"{path}.copy").replace(path)
    assert journal[:8] == bytes.fromhex("d9d505f920a163d7")
    return journal
