"""Look-ups by the standard library's sqlite3: what they answer, and what becomes of a file that changes under them.

Each test of this folder whose store is a file compares the reader's look-ups with those of the whole store
(`conftest`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests._internal.test_safe_path import made, needs_root
from tests.store.conftest import compare_lookups
from tests.store.odd_rows import TABLES, plant
from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, running, sweep, without_trials
from tests.store.test_damage import hot_journal
from tests.threads import eventually
from tunedb.core.device import Device, host
from tunedb.core.sweep import COUNTED_SOURCES, Confirmation, Mark, MarkKind, Source, UsageCount
from tunedb.errors import StoreBusy, StoreCorrupt, StoreUnavailable
from tunedb.store import Store, open_store, store_thread
from tunedb.store.guarded import GuardedStore
from tunedb.store.local import LocalOpener, LocalStore, NotLoaded
from tunedb.store.sql import sqlite_reader, statements
from tunedb.store.sql.models import MarkRow, SweepRow, _Bounded
from tunedb.store.sql.revision import VERSION_TABLE
from tunedb.store.sql.sqlite_reader import SqliteReader

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PIN = Mark(MarkKind.PIN, "the best", NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one sweep, which is closed."""
    path = tmp_path / "store.db"
    with open_store(str(path)) as store:
        store.put_sweep(sweep(uid="ab" * 16))
    return path


@pytest.fixture
def reader(path: Path) -> Iterator[SqliteReader]:
    """A reader of the store that has read it, and keeps its connection."""
    reader = SqliteReader(path, 0.1)
    assert uids(reader) == ["ab" * 16]
    yield reader
    reader.release()


def uids(store: SqliteReader | Store | LocalStore | GuardedStore) -> list[str]:
    return [found.uid for found in store.get_sweeps(sweep().problem, DEVICE, HASH)]


def test_the_columns_are_those_of_the_models_and_are_cut_off_as_there() -> None:
    for row, names in ((SweepRow, statements.SWEEP), (MarkRow, statements.MARK)):
        columns = row.__table__.columns
        assert tuple(columns.keys()) == names
        bounded = {name for name, column in columns.items() if isinstance(column.type, _Bounded)}
        assert bounded == statements._TEXTS & set(names)


def test_odd_rows_give_the_reader_what_they_give_the_whole_store(tmp_path: Path) -> None:
    path, other = tmp_path / "store.db", Device("NVIDIA L4", "cuda", "sm_89", 58)
    base = sweep(1, marks=(Mark(MarkKind.UNPIN, "as it was", NOON),))
    with open_store(str(path)) as store:
        store.put_sweeps([base, sweep(1, marks=(PIN,)), sweep(2), sweep(1, device=other)])
        store.confirmations.put_all([(base.uid, Confirmation(ENVIRONMENT, 12.0, 20.0, NOON))])
    for table in TABLES:
        if table not in ("host", "miss"):
            assert plant(f"sqlite:///{path}", table) > 5
    with open_store(str(path)) as store:
        compare_lookups(store)
        for device in (DEVICE, other):
            assert store.get_sweeps(base.problem, device, HASH)
            assert store.get_kernel_sweeps("avg_pool1d", device, HASH)
            store.get_wrong_configs(base.problem, device, HASH, ENVIRONMENT)
        assert store.get_tried_keys(base.uid) >= {trial.config.key for trial in base.trials}
        assert PIN in [mark for marks in store.get_marks_of([*store.upkeep.uids()]).values() for mark in marks]


def test_what_others_store_and_judge_is_in_the_next_read(reader: SqliteReader, path: Path) -> None:
    with open_store(str(path)) as store:
        newer = sweep(finished=NOON.replace(year=2027))
        store.put_sweep(newer)
        store.marks.put(newer.uid, PIN)
    assert uids(reader) == ["ab" * 16, newer.uid]
    (_, read) = reader.get_sweeps(sweep().problem, DEVICE, HASH)
    assert read == dataclasses.replace(without_trials(newer), marks=(PIN,))


def test_a_file_that_takes_the_place_of_the_one_that_was_read_is_read_next(
    reader: SqliteReader, path: Path, tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "other.db")) as store:
        store.put_sweep(sweep(uid="cd" * 16))
    (tmp_path / "other.db").replace(path)
    assert uids(reader) == ["cd" * 16]
    path.unlink()
    with pytest.raises(StoreUnavailable, match="No such file"):
        uids(reader)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON miss BEGIN DELETE FROM sweep; END", "Refused .* expected tables of data"),
        (f"UPDATE {VERSION_TABLE} SET version_num = '9999'; CREATE TABLE other (x)", r"Found schema \['9999'\]"),
    ],
)
def test_a_schema_that_changes_after_the_first_read_is_looked_at_again(
    reader: SqliteReader, path: Path, statement: str, message: str
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(statement)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=message):
            uids(reader)


def test_a_writer_that_holds_the_file_makes_a_read_wait_and_fail_in_time(reader: SqliteReader, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        with pytest.raises(StoreBusy, match="Another process holds it"):
            uids(reader)
        assert time.monotonic() - start >= 0.1
    assert uids(reader) == ["ab" * 16]


def test_a_read_leaves_no_lock_and_changes_nothing(reader: SqliteReader, path: Path) -> None:
    before = path.read_bytes()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="readonly"), reader._connected() as driver:
        driver.execute("DELETE FROM sweep")
    assert path.read_bytes() == before


def test_a_statement_that_never_ends_is_given_up(reader: SqliteReader) -> None:
    reader._limit.seconds = 0.1
    with pytest.raises(StoreUnavailable, match="took too long"), reader._connected() as driver:
        reader._run(driver, ENDLESS).fetchall()
    assert uids(reader) == ["ab" * 16]


class Alarm(Exception):
    """What a program's own signal handler raises."""


def test_what_a_signal_handler_raises_during_a_read_passes(reader: SqliteReader) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm), reader._connected() as driver:
            reader._run(driver, ENDLESS).fetchall()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert uids(reader) == ["ab" * 16]


def test_a_look_up_reads_the_rows_of_its_own_kernel_and_problem_alone(path: Path) -> None:
    values = dict.fromkeys(("kernel", "problem", "device", "kernel_hash"), "x") | {"most": 1}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in (statements.OF_PROBLEM, statements.FIRST_OF_PROBLEM, statements.OF_KERNEL):
            plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            index = "ix_sweep_problem_id_device_id_kernel_hash (problem_id=? AND device_id=? AND kernel_hash=?)"
            assert f"SEARCH sweep USING INDEX {index}" in [line.replace("TABLE ", "") for line in plan], plan


def test_the_journal_of_a_killed_writer_is_rolled_back(path: Path) -> None:
    journal = hot_journal(path)
    Path(f"{path}-journal").write_bytes(journal)
    assert uids(SqliteReader(path, 0.1)) == ["ab" * 16]
    assert not Path(f"{path}-journal").exists()


@needs_root
def test_another_user_s_journal_is_not_played_back_into_a_file_that_is_open(sticky: Path) -> None:
    path = sticky / "store.db"
    with open_store(str(path)) as store:
        store.put_sweep(sweep(uid="ab" * 16))
    journal = hot_journal(path)
    reader = SqliteReader(path, 0.1)
    assert uids(reader) == ["ab" * 16]
    planted = made(Path(f"{path}-journal"))
    planted.write_bytes(journal)
    with pytest.raises(StoreUnavailable, match="belongs to another user"):
        uids(reader)
    assert planted.read_bytes() == journal


def test_a_forked_child_reads_by_a_connection_of_its_own_and_the_parents_stays(
    reader: SqliteReader, path: Path
) -> None:
    (kept,) = reader._idle
    child = os.fork()
    if child == 0:  # what fails here must not run on into the tests
        is_good = reader._idle == [] and kept in sqlite_reader._abandoned and uids(reader) == ["ab" * 16]
        is_good = is_good and reader._idle[0].driver is not kept.driver
        os._exit(0 if is_good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert reader._idle == [kept]
    assert uids(reader) == ["ab" * 16]


def test_the_connection_is_closed_once_no_call_has_read_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_thread, "IDLE_S", 0.05)
    opener = LocalOpener(str(path), busy_timeout=0.1, writable=True)
    guarded = GuardedStore(str(path), opener)
    assert uids(guarded) == ["ab" * 16]
    store = guarded._store._store
    assert isinstance(store, LocalStore)
    assert eventually(lambda: store._reader._idle == [])
    assert uids(guarded) == ["ab" * 16]


def counts(source: Source, count: int = 2, n: int = 1, device: Device = DEVICE) -> list[UsageCount]:
    return [UsageCount(sweep(n).problem, device, source, count, NOON, NOON.replace(hour=13))]


def test_counts_add_up_as_the_whole_store_adds_them_up(reader: SqliteReader, path: Path) -> None:
    with open_store(str(path)) as store:
        for source in COUNTED_SOURCES:
            assert reader.add_usage(counts(source))
            store.add_usage(counts(source, 3))
            assert reader.add_usage(counts(source, 2**31 - 6))
            assert reader.add_usage(counts(source))
        found = store.usage.get(COUNTED_SOURCES)
    assert {(usage.source, usage.count, usage.first_seen, usage.last_seen) for usage in found} >= {
        (source, 2**31 - 1, NOON, NOON.replace(hour=13)) for source in (Source.STORE, Source.STALE, Source.SWEEP)
    }


def test_counts_of_what_is_not_stored_and_too_many_counts_are_left_to_the_whole_store(
    reader: SqliteReader, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not reader.add_usage(counts(Source.STORE) + counts(Source.STORE, n=2))
    assert not reader.add_usage(counts(Source.STORE, device=Device("NVIDIA L4", "cuda", "sm_89", 58)))
    with open_store(str(path)) as store:
        assert store.usage.by_source() == {}
        local = LocalOpener(str(path), busy_timeout=0.1, writable=True)()
        assert isinstance(local, LocalStore)
        local.add_usage(counts(Source.STORE) + counts(Source.STORE, n=2))
        assert store.usage.by_source() == {"store": 4}
        monkeypatch.setattr(statements, "MAX_ROWS", 1)
        assert not reader.add_usage(counts(Source.STORE))
        assert store.usage.by_source() == {"store": 4}


def test_a_sound_file_is_opened_without_the_whole_store_and_anything_else_with_it(path: Path, tmp_path: Path) -> None:
    for url in (str(path), f"sqlite:///{path}"):
        assert isinstance(LocalOpener(url, busy_timeout=0.1, writable=True)(), LocalStore)
    (tmp_path / "empty.db").touch()
    for name in ("absent.db", "empty.db"):
        opener = LocalOpener(str(tmp_path / name), busy_timeout=0.1, writable=True)
        with pytest.raises(NotLoaded):
            opener()
        opener.load()
        assert isinstance(opener(), Store)
    with pytest.raises(NotLoaded):
        LocalOpener("sqlite://", busy_timeout=0.1, writable=True)()
    opener = LocalOpener(str(tmp_path / "none.db"), busy_timeout=0.1, writable=False)
    opener.load()
    assert opener() is None


def test_writes_and_what_a_sweep_reads_are_done_by_the_whole_store(path: Path) -> None:
    local = LocalOpener(str(path), busy_timeout=0.1, writable=True)()
    assert isinstance(local, LocalStore)
    done = sweep(7, host=host())
    local.start_sweep(running(done))
    local.put_trial(done.uid, done.trials[0])
    assert [found.uid for found in local.get_unfinished(done.problem, DEVICE, HASH, ENVIRONMENT)] == [done.uid]
    local.finish_sweep(done)
    ((whole,),) = local.get_whole([done.uid])
    assert {trial.uid for trial in whole.trials} == {trial.uid for trial in done.trials}
    assert local.get_tried_keys(done.uid) == {trial.config.key for trial in done.trials}
    local.close()


def test_closing_does_not_wait_for_a_thread_that_opens_the_whole_store(path: Path) -> None:
    begun, closed = threading.Event(), threading.Event()

    def hang() -> Store | None:
        begun.set()
        assert closed.wait(60)
        return open_store(str(path))

    local = LocalStore(SqliteReader(path, 0.1), hang)
    opening = threading.Thread(target=lambda: local.whole, daemon=True)
    opening.start()
    assert begun.wait(60)
    local.close()
    closed.set()
    opening.join(60)
    assert uids(local.whole) == ["ab" * 16]


def test_damage_deep_in_the_file_is_left_to_the_whole_store_which_sets_the_file_aside(path: Path) -> None:
    local = LocalOpener(str(path), busy_timeout=0.1, writable=True)()
    assert isinstance(local, LocalStore)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sweep'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    local.release()
    with pytest.raises(StoreCorrupt):
        uids(local)
    assert list(path.parent.glob("*.corrupt-*"))
    assert uids(local) == []
