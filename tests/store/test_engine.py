"""Paths, URLs, permissions, locks, full disks: what a store is opened on, and how it fails."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.store.samples import DEVICE, HASH, sweep, trial
from tunedb.errors import StoreError, StoreUnavailable
from tunedb.store import Store, current, open_store, upgrade


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def made(path: Path | str) -> Store:
    store = open_store(str(path))
    store.put_sweep(sweep())
    return store


@contextlib.contextmanager
def write_locked(path: Path) -> Iterator[None]:
    """Another connection is in the middle of a write."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(
    "name",
    [
        "with space.db",
        "a'b\"c.db",
        "#?%.db",
        "100%41.db",
        "ünïcode-漢字.db",
        "a&b=c;d.db",
        ":memory:",
        "x" * 240,
    ],
)
def test_a_path_names_one_file_where_it_is_expected(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with made(folder / name) as store:
        assert names(folder) == [name, f"{name}.lock"]
        found = open_store(store.url)  # what is printed can be given back
        assert isinstance(found, Store)
        assert len(list(found.iter_sweeps())) == 1


def test_a_home_folder_and_a_relative_path_are_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    stores = [made("~/one.db"), made("./two.db"), made("sqlite:///three.db"), made(f"sqlite:///{tmp_path}/four.db")]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [len(list(store.iter_sweeps())) for store in stores] == [1] * 4
    assert {entry.name for entry in tmp_path.glob("*.db")} == {"one.db", "two.db", "three.db", "four.db"}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_symbolic_link_names_the_file_it_points_to(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert made(link).url == made(path).url
    assert names(tmp_path) == ["link.db", "store.db", "store.db.lock"]


def test_folder_and_file_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made(tmp_path / "folder" / "store.db")
    finally:
        os.umask(before)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "folder").iterdir()}
    assert modes == {"store.db": 0o600, "store.db.lock": 0o600}
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


def test_the_journal_is_the_rollback_journal_and_foreign_keys_hold(path: Path) -> None:
    with made(path)._access.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_opening_and_reading_write_nothing(path: Path, tmp_path: Path) -> None:
    made(path)
    before = (path.read_bytes(), path.stat().st_mtime_ns, names(tmp_path))
    for create in (True, False):
        store = open_store(str(path), create=create)
        assert store is not None
        assert store.get_sweeps(sweep().problem, DEVICE, HASH)
        assert list(store.iter_sweeps(with_trials=True))
    assert current(str(path)) is not None
    assert (path.read_bytes(), path.stat().st_mtime_ns, names(tmp_path)) == before


def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    store = made(path)
    with write_locked(path):
        start = time.monotonic()
        assert open_store(str(path)).get_sweeps(sweep().problem, DEVICE, HASH)
        assert list(store.iter_sweeps())
        assert time.monotonic() - start < 2


def test_a_write_waits_for_another_writer_up_to_the_busy_timeout(path: Path) -> None:
    made(path)
    store = open_store(str(path), busy_timeout=0.3)
    with write_locked(path):
        start = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"database is locked\. Another process holds it"):
            store.put_sweep(sweep(2))
        assert 0.25 < time.monotonic() - start < 5
    assert store.put_sweep(sweep(2))


def test_a_write_that_fails_leaves_nothing_of_itself(path: Path) -> None:
    store = open_store(str(path))
    taken = sweep()
    with sqlite3.connect(path) as connection:  # the first trial fails, after its sweep was written
        connection.execute("DROP TABLE trial")
    connection.close()
    with pytest.raises(StoreError, match="no such table"):
        store.put_sweeps([sweep(1, trials=()), taken])
    assert list(store.iter_sweeps(finished=False)) == []


def test_a_file_that_was_removed_is_not_made_again_behind_our_back(path: Path) -> None:
    store = made(path)
    path.unlink()
    with pytest.raises(StoreUnavailable, match="unable to open"):
        store.put_sweep(sweep(2))
    assert not path.exists()
    assert list(made(path).iter_sweeps())


def test_a_full_disk_fails_the_write_and_not_the_read(path: Path) -> None:
    made(path)
    most = path.stat().st_size + 20_000  # room for less than the trials take
    code = f"""
import resource
from tests.store.samples import sweep, trial
from tunedb.errors import StoreUnavailable
from tunedb.store import open_store
store = open_store({str(path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
try:
    store.put_sweep(sweep(2, trials=[trial(error="x" * 4000) for _ in range(100)]))
except StoreUnavailable as error:
    print(error)
print(len(list(store.iter_sweeps(finished=False))))
"""
    done = forked.run(["-c", code], libraries=forked.WITH_TUNEDB)
    message, _, count = done.stdout.strip().partition("\n")
    assert message.startswith(f"Can't use sqlite:///{path}: "), done.stderr
    assert count == "1"
    assert len(list(made(path).iter_sweeps())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else, whom permissions bind")
@pytest.mark.parametrize("folder_mode", [0o555, 0o755])
def test_a_read_only_file_can_be_read_and_refuses_writes(folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder / "store.db")
        (folder / "store.db").chmod(0o444)
        folder.chmod(folder_mode)
        code = f"""
import filelock, os
from tests.store.samples import sweep
from tunedb.errors import StoreUnavailable
from tunedb.store import open_store
os.setegid(65534)
os.seteuid(65534)
store = open_store({str(folder / "store.db")!r})
print(len(list(store.iter_sweeps())))
try:
    store.put_sweep(sweep(2))
except StoreUnavailable as error:
    print(error)
try:
    open_store({str(folder / "absent.db")!r})
except StoreUnavailable as error:
    print(error)
"""
        done = forked.run(["-c", code], libraries=forked.WITH_TUNEDB)
        assert done.returncode == 0, done.stderr
        count, write, absent = done.stdout.splitlines()
        assert count == "1"
        assert "attempt to write a readonly database. Make the file and its folder writable" in write
        assert "Permission denied. Make the file and its folder accessible" in absent


def test_a_folder_or_a_device_in_its_place_is_refused(tmp_path: Path) -> None:
    for place, found in (
        (str(tmp_path), "got a folder"),
        ("/dev/null", "got a special file"),
    ):
        for work in (open_store, current, upgrade):
            with pytest.raises(StoreUnavailable, match=found):
                work(place)


def test_a_file_in_place_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for work in (open_store, current, upgrade):
        with pytest.raises(StoreUnavailable, match=r"Not a directory|File exists"):
            work(str(tmp_path / "file" / "store.db"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("postgresql://user:se/cr:et@host:port/name", "Expected a path or an SQLAlchemy URL"),
        ("://user:se/cr:et@host", "Expected a path or an SQLAlchemy URL"),
        ("nonsense://user:se/cr:et@host/name", "Expected a path or an SQLAlchemy URL"),
        ("mysql://user:se/cr:et@host/name", "Expected a sqlite:// or postgresql:// URL"),
        ("postgresql+asyncpg://user:se/cr:et@host/name", "Expected a sqlite:// or postgresql:// URL"),
        ("postgresql://user:se%2Fcr%3Aet@127.0.0.1:1/name", "Connection refused"),
        ("postgresql://user@127.0.0.1:1/name?password=se/cr:et", "Connection refused"),
        ("postgresql://user:se%2Fcr%3Aet@127.0.0.1/name?nonsense=1", "nonsense"),
        ("sqlite:///file:store.db?mode=ro&uri=true", "Expected a SQLite URL without options"),
        ("sqlite:///store.db?timeout=5", "Expected a SQLite URL without options"),
        ("a\0b", "embedded null byte"),
        ("\udcff.db", "surrogates not allowed"),
        ("~nobody-of-that-name/store.db", "home"),
    ],
)
def test_what_can_not_be_opened_is_a_store_failure_without_a_password_in_it(
    target: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for work in (open_store, upgrade, current):
        with pytest.raises(StoreUnavailable, match=message) as caught:
            work(target)
        for text in (str(caught.value), repr(caught.value), caplog.text):
            assert "se/cr:et" not in text
            assert "se%2Fcr" not in text


def test_a_missing_driver_is_a_store_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreUnavailable, match=r"Found no driver for .*\. Run: pip install 'tunedb\[postgres\]'"):
        open_store("postgresql://user:secret@host/name")


def test_a_shared_store_s_url_is_printed_without_its_password(postgresql_url: str) -> None:
    secret = postgresql_url.replace("postgres:@", "postgres:hush@")
    assert "hush" in secret
    upgrade(secret)
    store = open_store(secret)
    assert "hush" not in store.url
    with pytest.raises(StoreError) as caught:
        store.put_trial("0" * 32, trial())
    assert "hush" not in str(caught.value)


def test_a_shared_store_has_a_schema_of_its_own(postgresql_url: str) -> None:
    import psycopg

    upgrade(postgresql_url)
    with psycopg.connect(postgresql_url) as connection:
        tables = connection.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
    names = {"claim", "confirmation", "copy_rate", "device", "hint", "problem", "sweep", "trial", "mark", "host"}
    names |= {"miss", "tunedb_alembic_version"}
    assert {name for schema, name in tables if schema == "tunedb"} == names
    assert not {name for schema, name in tables if schema == "public"} & names


def test_a_store_works_on_both_sides_of_a_fork(path: Path) -> None:
    code = f"""
import os
from tests.store.samples import sweep
from tunedb.store import open_store
store = open_store({str(path)!r})
store.put_sweep(sweep(1))
child = os.fork()
store.put_sweep(sweep(2 + bool(child)))
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(len(list(store.iter_sweeps())))
"""
    done = forked.run(["-c", code], libraries=forked.WITH_TUNEDB)
    assert (done.stdout, done.stderr) == ("3\n", "")
