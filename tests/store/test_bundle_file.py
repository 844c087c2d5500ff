"""A bundle's file: the same bytes for the same sweeps, nothing of the machine in it, and nothing of it is run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.bundled import altered, fixed, in_memory, uid, write
from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, failed, sweep, sweeps, trial
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Confirmation, Layer, Mark, Sweep
from tunedb.errors import StoreUnavailable
from tunedb.store import open_store
from tunedb.store.bundle import file_format
from tunedb.store.bundle.writing import bundle_bytes

SHIPPED = Path(__file__).parents[2] / "kernels" / "avg_pool" / "tuned.db"

# Of `fixed(1500)`, by whichever version of SQLite. It may change with the version of the format only.
SHA256 = {
    True: "f1543eba06c765345db924b21fb334c2d4f991eb2bf28f1d06f56efaf51018b5",
    False: "81d615153530de113930847283fc004c5c829269231333abd636d38799fa072b",
}


@pytest.mark.parametrize("only_winners", [True, False])
def test_the_bytes_follow_from_the_sweeps_alone(only_winners: bool) -> None:
    made = fixed(1500)
    content, count = bundle_bytes(made, only_winners=only_winners)
    assert (count, hashlib.sha256(content).hexdigest()) == (1500, SHA256[only_winners])
    Random(7).shuffle(made)
    assert bundle_bytes(made, only_winners=only_winners)[0] == content


def test_the_header_does_not_tell_which_sqlite_wrote_it() -> None:
    content = bundle_bytes(fixed(3), only_winners=True)[0]
    database = bytearray(content[: -file_format.SEAL_BYTES])
    for offset in (24, 92, 96):  # change counter, version-valid-for, SQLITE_VERSION_NUMBER
        database[offset : offset + 4] = (3_051_001).to_bytes(4, "big")
    assert file_format.sealed(bytes(database)) == content
    assert database[18:20] == b"\1\1"  # a rollback journal


def test_another_sqlite_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    other = pytest.importorskip("pysqlite3", reason="needs a second SQLite: pysqlite3-binary is not installed")
    shipped = in_memory(SHIPPED.read_bytes())
    made = [fixed(400), list(shipped.iter_sweeps())]  # in the second the rows of a page differ in length
    contents = [bundle_bytes(sweeps, only_winners=False)[0] for sweeps in made]
    monkeypatch.setattr("tunedb.store.bundle.writing.sqlite3", other)
    assert [bundle_bytes(sweeps, only_winners=False)[0] for sweeps in made] == contents


def test_what_sqlite_left_where_a_page_holds_nothing_is_not_in_the_file(tmp_path: Path) -> None:
    content = bundle_bytes(fixed(300), only_winners=False)[0]
    database = bytearray(content[: -file_format.SEAL_BYTES])
    path = tmp_path / "bundle.db"
    path.write_bytes(database)
    with contextlib.closing(sqlite3.connect(path)) as opened:
        roots = [1, *(page for (page,) in opened.execute("SELECT rootpage FROM sqlite_master"))]
    planted = 0
    for page in range(0, len(database), file_format.PAGE_SIZE):
        head = page + (100 if page == 0 else 0)
        is_inner = database[head] in (2, 5)
        if not is_inner and database[head] not in (10, 13):
            continue
        cells, content_area = (int.from_bytes(database[head + at : head + at + 2], "big") for at in (3, 5))
        begin, end = head + (12 if is_inner else 8) + 2 * cells, page + content_area
        if begin < end:
            planted += is_inner
            database[begin], database[end - 1] = 7, 9
    assert planted > 1  # in inner pages too, to which only other pages lead
    assert file_format.without_leftovers(bytes(database), roots) == content[: -file_format.SEAL_BYTES]


def test_a_bundle_of_an_imported_copy_is_the_same_file(tmp_path: Path) -> None:
    first, second = open_store("sqlite://"), open_store("sqlite://")
    with first, second:
        first.put_sweeps(fixed(3))
        second.put_sweeps(dataclasses.replace(one, origin="imported", host="other") for one in fixed(3))
        made = [bundle_bytes(store.iter_sweeps(with_trials=True), only_winners=False)[0] for store in (first, second)]
    assert made[0] == made[1]


@settings(max_examples=10, deadline=None)
@given(st.lists(sweeps(), max_size=5, unique_by=lambda one: one.uid))
def test_what_goes_in_comes_out_without_host_errors_and_marks(put: list[Sweep]) -> None:
    content, count = bundle_bytes(put, only_winners=False)
    bundle = in_memory(content)
    expected = {
        one.uid: dataclasses.replace(
            one,
            origin="imported",
            host="",
            expires=None,
            trials=tuple(dataclasses.replace(each, error=None) for each in one.trials),
        )
        for one in put
    }
    found = list(bundle.iter_sweeps())
    assert len(found) == count
    for one in found:
        assert one == expected[one.uid]
        assert (one.layer, one.bundle, one.marks) == (Layer.BUNDLE, "planted", ())
        (again,) = [x for x in bundle.get_sweeps(one.problem, one.device, one.kernel_hash) if x.uid == one.uid]
        assert again == dataclasses.replace(one, trials=())


def test_nothing_of_the_machine_is_in_the_file() -> None:
    content = bundle_bytes(fixed(5), only_winners=False)[0]
    assert b"node7" not in content
    assert b"/home/me" not in content
    assert b"kernel3.py" not in content


def test_winners_keep_the_trial_of_their_own_config() -> None:
    (found,) = in_memory(bundle_bytes(fixed(1), only_winners=True)[0]).iter_sweeps()
    assert [one.config for one in found.trials] == [found.config]
    assert found.counts == {"compile_error": 1, "ok": 2}
    (found,) = in_memory(bundle_bytes(fixed(1), only_winners=False)[0]).iter_sweeps()
    assert len(found.trials) == 3


def test_each_environment_has_its_winner_and_an_older_kernel_has_none() -> None:
    newer = NOON + timedelta(days=1)
    other = dataclasses.replace(ENVIRONMENT, triton="3.9.0")
    kept = [sweep(1, uid=uid(1), finished=newer), sweep(1, uid=uid(2), environment=other)]
    put = [
        *kept,
        sweep(1, uid=uid(3), finished=NOON),
        sweep(1, uid=uid(4), finished=NOON, kernel_hash="0" * 64),
        failed(2, uid=uid(5)),
    ]
    found = in_memory(bundle_bytes(put, only_winners=True)[0]).iter_sweeps()
    assert {one.uid for one in found} == {one.uid for one in kept}


def test_a_winner_is_valid_wherever_it_was_confirmed_and_goes_once() -> None:
    newer, newest = (dataclasses.replace(ENVIRONMENT, triton=triton) for triton in ("3.9.0", "4.0.0"))
    facts = (Confirmation(newer, 12.0, 20.0, NOON, uid(7)), Confirmation(newest, None, None, NOON, uid(8)))
    held = sweep(1, uid=uid(1), confirmations=facts)
    put = [held, sweep(1, uid=uid(2), environment=newer, complete=False, finished=NOON), sweep(2, uid=uid(3))]
    content, count = bundle_bytes(put, only_winners=True)
    assert count == 2  # what was cut short in the newer one is behind what was confirmed there
    again = dataclasses.replace(held, confirmations=(*reversed(facts), facts[0]))
    assert bundle_bytes([put[2], again, put[1]], only_winners=True)[0] == content
    bundle = in_memory(content)
    ((found,), (other,)) = (bundle.get_sweeps(one.problem, DEVICE, HASH) for one in (held, put[2]))
    assert (sorted(found.confirmations, key=lambda one: one.uid), other.confirmations) == (list(facts), ())
    assert all(found.is_valid_in(environment) for environment in (ENVIRONMENT, newer, newest))
    assert [len(one.confirmations) for one in bundle.iter_sweeps()] == [2, 0]
    assert len(bundle.find(held.uid)[0].confirmations) == 2
    assert bundle_bytes(bundle.iter_sweeps(), only_winners=True)[0] == content


def test_a_confirmation_that_can_t_be_read_spoils_no_sweep(tmp_path: Path) -> None:
    held = sweep(1, uid=uid(1), confirmations=(Confirmation(ENVIRONMENT, 1.0, 2.0, NOON, uid(7)),))
    content = bundle_bytes([held], only_winners=True)[0]
    for change in ("time='x'", "time_us='x'", "uid=5"):
        odd = altered(
            content, lambda db, change=change: db.execute(f"UPDATE confirmation SET {change}"), tmp_path / "x"
        )
        (found,) = in_memory(odd).iter_sweeps()
        assert (found.uid, found.confirmations) == (held.uid, ())


def test_a_quarantined_sweep_stays_and_a_pinned_one_goes_alone() -> None:
    pinned = sweep(1, uid=uid(1), marks=(Mark("pin", "mine"),))
    bad = sweep(2, uid=uid(3), marks=(Mark("quarantine", "wrong"),))
    put = [pinned, sweep(1, uid=uid(2), finished=NOON + timedelta(days=1)), bad]
    for only_winners in (True, False):
        (found,) = in_memory(bundle_bytes(put, only_winners=only_winners)[0]).iter_sweeps()
        assert (found.uid, found.is_pinned) == (pinned.uid, False)


def test_a_sweep_whose_own_trials_contradict_it_makes_no_bundle() -> None:
    with pytest.raises(ValueError, match="ok"):
        bundle_bytes([sweep(1, trials=(trial(256),))], only_winners=True)


def test_the_newest_of_a_kernel_come_first() -> None:
    put = [sweep(n, finished=NOON + timedelta(seconds=n)) for n in range(1, 6)]
    bundle = in_memory(bundle_bytes(put, only_winners=True)[0])
    found = bundle.get_kernel_sweeps("avg_pool1d", DEVICE, HASH, 2)
    assert [one.problem["n"] for one in found] == [5, 4]
    assert bundle.get_kernel_sweeps("avg_pool1d", Device("L4", "cuda", "sm_89", 58), HASH) == []
    assert len(bundle.find(found[0].uid[:20])) == 1


def test_only_the_rows_that_are_asked_for_are_read() -> None:
    other, add = Device("NVIDIA L4", "cuda", "sm_89", 58), Problem.of("mine.add", n=3)
    put = [
        *(sweep(n, uid=uid(n), finished=NOON + timedelta(seconds=n + 1)) for n in (1, 2, 3)),
        sweep(1, uid=uid(4), device=other),
        sweep(problem=add, uid=uid(5)),
    ]
    bundle = in_memory(bundle_bytes(put, only_winners=False)[0])

    def listed(**asked: Any) -> list[int]:
        return [int(one.uid, 16) for one in bundle.iter_sweeps(**asked)]

    assert listed() == [1, 4, 2, 3, 5]  # by kernel, problem and device
    assert listed(kernel="mine.add") == [5]
    assert listed(kernel="avg_pool1d", device_name="NVIDIA L4") == [4]
    assert listed(kernel="other") == listed(device_name="other") == []
    assert listed(latest=2) == [3, 5]  # those that ended last; 4 and 5 ended at once
    assert {len(one.trials) for one in bundle.iter_sweeps(with_trials=False)} == {0}
    assert {len(one.trials) for one in bundle.iter_sweeps(kernel="mine.add")} == {3}
    assert [one.uid for one in bundle.get_problem_sweeps(put[0].problem)] == [uid(1), uid(4)]
    assert bundle.get_problem_sweeps(Problem.of("mine.add", n=4)) == []
    assert (set(bundle.devices()), bundle.devices("mine.add")) == ({DEVICE, other}, [DEVICE])
    assert bundle.kernels() == ["avg_pool1d", "mine.add"]
    assert {one["BLOCK"] for one in bundle.tried_configs("mine.add")} == {128, 256, 512}


PLANTED: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a trigger": lambda db: db.execute("CREATE TRIGGER t AFTER INSERT ON sweep BEGIN DELETE FROM trial; END"),
    "a view": lambda db: db.execute("CREATE VIEW v AS SELECT * FROM sweep"),
    "a view in a table's place": lambda db: (
        db.execute("ALTER TABLE sweep RENAME TO kept"),
        db.execute("CREATE VIEW sweep AS SELECT * FROM kept"),
    ),
    "another table": lambda db: db.execute("CREATE TABLE more (x)"),
    "a virtual table": lambda db: db.execute("CREATE VIRTUAL TABLE f USING fts5(x)"),
    "an index": lambda db: db.execute("CREATE INDEX i ON sweep (abs(time_us))"),
    "a column": lambda db: db.execute("ALTER TABLE sweep ADD COLUMN x"),
    "a generated column": lambda db: db.execute("ALTER TABLE kernel ADD COLUMN x AS (abs(id))"),
    "a table less": lambda db: db.execute("DROP TABLE trial"),
    "another version": lambda db: db.execute("PRAGMA user_version=3"),
    "another application": lambda db: db.execute("PRAGMA application_id=5"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_file_with_anything_else_in_it_is_refused(planted: str, tmp_path: Path) -> None:
    content = bundle_bytes(fixed(2), only_winners=True)[0]
    with pytest.raises(StoreUnavailable, match=r"^Refused planted: .*(Run|run|again|tunedb export)"):
        in_memory(altered(content, PLANTED[planted], tmp_path / "x.db"))


def test_what_sqlite_changed_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "b.db", fixed(2))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE sweep SET config = '{}'")
    database.close()
    with pytest.raises(StoreUnavailable, match="damaged, or was changed"):
        in_memory(path.read_bytes())


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused(data: st.DataObject) -> None:
    content = bundle_bytes(fixed(40), only_winners=True)[0]
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "grow", "empty"]))
    damaged = {
        "cut": content[:place],
        "flip": content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :],
        "grow": content + content[place:],
        "empty": b"",
    }[kind]
    with pytest.raises(StoreUnavailable, match="Refused planted"):
        in_memory(damaged)


def test_odd_rows_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bundle_bytes(fixed(6), only_winners=True)[0]
    odd = {1: "config = x'00ff'", 2: "time_us = 'fast'", 3: "config = '{\"A\":NaN}'", 4: "uid = 5", 5: "started = 9"}

    def plant(database: sqlite3.Connection) -> None:
        for number, change in odd.items():
            database.execute(f"UPDATE sweep SET {change} WHERE id = {number}")

    bundle = in_memory(altered(content, plant, tmp_path / "x.db"))
    assert [one.problem["n"] for one in bundle.iter_sweeps()] == [6]
    assert len(bundle.get_kernel_sweeps("avg_pool1d", DEVICE, HASH)) == 1
    assert len([record for record in caplog.records if record.name == "tunedb"]) == 1


def test_a_bundle_that_is_read_is_not_written_to(tmp_path: Path) -> None:
    from tunedb.store.bundle.reading import Bundle
    from tunedb.store.bundle.sources import named

    path = write(tmp_path / "b.db", fixed(2))
    # Beside a file that may be written, SQLite would roll it back.
    (tmp_path / "b.db-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(600))
    path.chmod(0o444)
    before = path.read_bytes(), path.stat().st_mtime_ns
    bundle = Bundle(named([str(path)])[0])
    assert len(list(bundle.iter_sweeps())) == 2
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        bundle._connection.execute("DELETE FROM sweep")
    bundle.close()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.db", "b.db-journal"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not a bundle, or it is damaged"),
        (b"SQLite format 3\0" + bytes(200), "it is a SQLite database, such as a store, and no bundle"),
        (b"PK\3\4" + bytes(200), "it is a zip archive"),
    ],
    ids=["empty", "text", "store", "zip"],
)
def test_a_file_that_is_no_bundle_is_refused_by_what_it_is(content: bytes, said: str) -> None:
    with pytest.raises(
        StoreUnavailable, match=f"Refused planted: {said}.* tunedb export --format bundle --store STORE"
    ):
        in_memory(content)
