"""Merging: import and sync are set union, whatever the shards, the order and the repeats."""

from __future__ import annotations

import dataclasses
import io
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.conftest import opened
from tests.store.samples import ENVIRONMENT, NOON, failed, running, sweep, trial, without_trials
from tunedb.core.problem import Config
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.store import Store, dump, load, open_store, receive, upgrade, winner
from tunedb.store.sql.models import MarkRow

_MOMENTS = st.sampled_from([NOON, NOON + timedelta(hours=1)])  # few, so that many are equal
_UIDS = st.uuids().map(lambda uid: uid.hex)
MARKS = st.builds(Mark, st.sampled_from(MarkKind), st.text("ab'", min_size=1, max_size=2), _MOMENTS, _UIDS)


@st.composite
def answers(draw: st.DrawFn) -> Sweep:
    """A sweep of the one problem, with or without a config, in this environment or another."""
    made = draw(st.sampled_from([sweep, failed]))
    return made(
        uid=draw(_UIDS),
        finished=draw(_MOMENTS),
        complete=draw(st.booleans()),
        environment=draw(st.sampled_from([ENVIRONMENT, dataclasses.replace(ENVIRONMENT, torch="1")])),
        marks=draw(st.lists(MARKS, max_size=3, unique_by=lambda mark: mark.uid)),
    )


def content(store: Store) -> list[Sweep]:
    """What a store holds, without what is its own: where a sweep came from, and sweeps without a winner."""
    found = (dataclasses.replace(one, origin="local") for one in store.iter_sweeps(with_trials=True))
    return sorted((one for one in found if one.status == "tuned"), key=lambda one: one.uid)


def winning(sweeps: Iterable[Sweep]) -> str | None:
    found = winner(sweeps, ENVIRONMENT)
    return found and found[0].uid


@pytest.fixture
def empty(stored_url: str) -> Iterator[Store]:
    """A store that each example empties."""
    yield from opened(stored_url)


def clear(store: Store) -> None:
    store.upkeep.remove(list(store.iter_sweeps(finished=False)))
    with store._access.write() as connection:  # nothing removes a mark; the next example must find none
        connection.execute(sa.delete(MarkRow))
    assert (store.upkeep.uids(), store.marks.get_all()) == ({}, [])


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_and_any_repeats_end_in_the_same_rows_and_the_same_winner(empty: Store, data: st.DataObject) -> None:
    sweeps = data.draw(st.lists(answers(), min_size=1, max_size=5, unique_by=lambda one: one.uid))
    later = data.draw(
        st.lists(st.tuples(st.sampled_from(sweeps), MARKS), max_size=3, unique_by=lambda pair: pair[1].uid)
    )
    clear(empty)
    with tempfile.TemporaryDirectory() as folder:
        shards = [open_store(f"{folder}/{number}.db") for number in range(3)]
        for one in sweeps:  # each in one shard at least
            homes = data.draw(st.lists(st.sampled_from(shards), min_size=1, max_size=3))
            for shard in homes:
                shard.put_sweep(one)
        for one, mark in later:  # also where the sweep is not
            data.draw(st.sampled_from(shards)).marks.put(one.uid, mark)
        for shard in [*shards, *data.draw(st.lists(st.sampled_from(shards), max_size=4)), *reversed(shards)]:
            give(empty, shard, data.draw(st.sampled_from(["receive", "file"])))
            if data.draw(st.booleans()):
                give(shard, empty, "receive")
        for shard in shards:
            receive(shard, empty)
        whole = [open_store(f"{folder}/all.db")]
        whole[0].put_sweeps(sweeps)
        for one, mark in later:
            whole[0].marks.put(one.uid, mark)
        expected = content(whole[0])
        for store in (empty, *shards):
            assert content(store) == expected
            assert winning(store.iter_sweeps()) == winning(expected)
        for shard in shards:  # and once more changes nothing
            again = receive(empty, shard)
            assert (again.stored, again.known, again.rejected, again.marks) == (0, len(expected), 0, 0)


def give(into: Store, source: Store, way: str) -> None:
    """Unite by `receive`, which brings every mark; a file brings those of its sweeps."""
    if way == "receive":
        receive(into, source)
        return
    buffer = io.StringIO()
    dump(source.iter_sweeps(with_trials=True), buffer)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(buffer.getvalue())
        file.flush()
        into.put_sweeps(load(file.name).sweeps)
    receive(into, source)


def test_running_sweeps_and_counts_stay_where_they_are(empty: Store, tmp_path: Path) -> None:
    other = open_store(str(tmp_path / "other.db"))
    other.start_sweep(running(sweep(1)))
    assert receive(empty, other).stored == 0
    assert list(empty.iter_sweeps(finished=False)) == []


def test_a_sweep_that_runs_here_is_finished_by_its_copy(empty: Store, tmp_path: Path) -> None:
    done = sweep(1)
    other = open_store(str(tmp_path / "other.db"))
    other.put_sweep(done)
    empty.start_sweep(running(done))
    assert receive(empty, other).stored == 1
    assert content(empty) == [done]


def test_more_than_a_page_is_united(empty: Store, tmp_path: Path, small_pages: int) -> None:
    other, count = open_store(str(tmp_path / "other.db")), 2 * small_pages + 5
    other.put_sweeps([sweep(n, trials=(trial(128),)) for n in range(count)])
    assert receive(empty, other).stored == count
    assert receive(empty, other).known == count
    assert {one.origin for one in empty.iter_sweeps()} == {"imported"}


def test_sweeps_are_removed_with_their_trials_unless_they_changed_and_leave_their_marks(empty: Store) -> None:
    kept, gone, resumed = sweep(1), sweep(2, marks=(Mark("pin", "x", NOON),)), sweep(3)
    empty.put_sweeps([kept, gone])
    empty.start_sweep(running(resumed))
    (listed,) = (one for one in empty.iter_sweeps(finished=False) if one.status == "running")
    empty.finish_sweep(resumed)  # after it was listed
    assert empty.upkeep.remove([without_trials(gone), listed]) == 1
    assert content(empty) == sorted([kept, resumed], key=lambda one: one.uid)
    assert [uid for uid, _ in empty.marks.get_all()] == [gone.uid]
    assert empty.put_sweep(without_marks := dataclasses.replace(gone, marks=()))
    assert without_marks.marks == ()
    assert empty.get_sweep(gone.uid) == gone


HOSTILE = [
    "config = '{\"BLOCK\": 128}'",  # not canonical
    'config = \'{"BLOCK":{"dtype":"os.system"}}\'',
    f"counts = '{'[' * 5000}'",
    "environment = '[]'",
    "kernel_hash = ''",
    "time_us = 'Infinity'",
    "uid = '../../etc/passwd'",
    "uid = 'x''; DROP TABLE sweep; --'",
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_hostile_row_is_rejected_and_the_others_are_united(stored_url: str, change: str, tmp_path: Path) -> None:
    upgrade(stored_url)
    bad, good = sweep(1), sweep(2)
    with open_store(stored_url) as theirs, open_store(str(tmp_path / "mine.db")) as mine:
        theirs.put_sweeps([bad, good])
        execute(
            stored_url, f"UPDATE sweep SET {change} WHERE uid = '{bad.uid}'".replace("'Infinity'", infinity(stored_url))
        )
        received = receive(mine, theirs)
        assert (received.stored, received.rejected) == (1, 1)
        assert content(mine) == [good]
        assert theirs.get_sweeps(bad.problem, bad.device, bad.kernel_hash) == []
        assert theirs.get_sweeps(good.problem, good.device, good.kernel_hash) == [without_trials(good)]


def test_a_hostile_mark_is_rejected_and_the_others_are_united(stored_url: str, tmp_path: Path) -> None:
    upgrade(stored_url)
    marks = [Mark("pin", "fine", NOON), Mark("unpin", "'; DROP TABLE mark; --", NOON), Mark("pin", "", NOON)]
    with open_store(stored_url) as theirs, open_store(str(tmp_path / "mine.db")) as mine:
        theirs.marks.put_all(("a" * 32, mark) for mark in marks)
        execute(stored_url, f"UPDATE mark SET sweep_uid = '..' WHERE uid = '{marks[2].uid}'")
        received = receive(mine, theirs)
        assert (received.marks, received.rejected) == (2, 1)
        assert {mark.reason for _, mark in mine.marks.get_all()} == {"fine", "'; DROP TABLE mark; --"}


STRINGS = ["'; DROP TABLE sweep; --", "../../../etc/passwd", "%s {0} $1 :x", "\x1b[2J", "\u202e", "x" * 30_000]


@pytest.mark.parametrize("text", STRINGS)
def test_strings_come_and_go_as_they_are(empty: Store, text: str, tmp_path: Path) -> None:
    name = text if text.isprintable() else "x"  # as names have to be
    device = dataclasses.replace(sweep().device, name=name)
    problem = type(sweep().problem).of("k", **{name: text})
    config = Config.of(**{name: text})
    one = sweep(
        problem=problem,
        device=device,
        host=name,
        config=config,
        trials=[trial(config=config)],
        marks=(Mark("pin", name[:99]),),
    )
    with open_store(str(tmp_path / "other.db")) as other:
        other.put_sweep(one)
        give(empty, other, "file")
    assert content(empty) == [one]
    assert empty.get_sweeps(problem, device, one.kernel_hash)[0].config == one.config
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".db") in (
        ["other.db"],
        ["other.db", "store.db"],
    )


def execute(url: str, statement: str) -> None:
    """Write past the store's checks, as someone with a client would."""
    if url.startswith("sqlite"):
        connection: sqlite3.Connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(statement)
        connection.commit()
        connection.close()
        return
    with psycopg.connect(url, autocommit=True, options="-c search_path=tunedb") as server:
        server.execute(statement.encode())


def infinity(url: str) -> str:
    return "9e999" if url.startswith("sqlite") else "'NaN'"
