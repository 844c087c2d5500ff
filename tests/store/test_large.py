"""A shared store that is large: a call reads the rows that it asks for, and a page of the newest ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.samples import DEVICE, HASH, sweep
from tunedb.core.canonical import canonical
from tunedb.core.sweep import Mark, MarkKind
from tunedb.store import Store, open_store
from tunedb.store.shared import SharedStore
from tunedb.store.shared_rows import PAGE_ROWS
from tunedb.store.sql import rows
from tunedb.store.sql.models import ProblemRow, SweepRow

KERNEL = sweep().problem.kernel


def fill(store: Store, count: int, first: int = 0) -> None:
    """Put sweeps without trials of as many problems, which came in their order."""
    some = [sweep(n) for n in range(first, first + count)]
    with store._access.write() as connection:
        device = store._access.device_id(connection, DEVICE)
        connection.execute(sa.insert(ProblemRow), [rows.problem_values(one.problem) for one in some])
        ids = dict(connection.execute(sa.select(ProblemRow.digest, ProblemRow.id)).all())
        facts = {"device_id": device, "counts": canonical({"ok": 1})}
        values = [
            rows.sweep_values(one) | facts | {"problem_id": ids[one.problem.digest], "arrived": one.finished}
            for one in some
        ]
        connection.execute(sa.insert(SweepRow), values)


class Counting:
    """A store that counts what is read of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("get_"):
            self.read.append(name)
        return getattr(self._store, name)


@pytest.fixture
def counting(store: Store) -> Counting:
    """A store, on each engine, that counts what is read of it."""
    return Counting(store)


def shared_on(counting: Counting) -> SharedStore:
    """A shared store as a call uses it."""
    return SharedStore("shared", lambda: counting, deadline=60.0)  # type: ignore[arg-type,return-value]


def test_of_a_large_kernel_only_the_rows_of_problems_that_are_asked_for_are_read(
    store: Store, counting: Counting
) -> None:
    fill(store, PAGE_ROWS + 100)
    shared = shared_on(counting)
    for n in (0, PAGE_ROWS + 99, 50, 0):
        found = shared.get_sweeps(sweep(n).problem, DEVICE, HASH)
        assert [one.problem for one in found] == [sweep(n).problem]
    assert shared.get_sweeps(sweep(10**6).problem, DEVICE, HASH) == []
    assert counting.read == ["get_newest", *["get_sweeps"] * 4]


def test_a_small_kernel_is_read_once(store: Store, counting: Counting) -> None:
    fill(store, 50)
    shared = shared_on(counting)
    for n in range(0, 60, 7):
        assert len(shared.get_sweeps(sweep(n).problem, DEVICE, HASH)) == (n < 50)
    assert len(shared.get_kernel_sweeps(KERNEL, DEVICE, HASH)) == 50
    assert counting.read == ["get_newest"]


def test_the_neighbours_are_those_that_came_last_and_those_that_were_asked_for(store: Store) -> None:
    fill(store, PAGE_ROWS + 10)
    shared = shared_on(Counting(store))
    shared.get_sweeps(sweep(3).problem, DEVICE, HASH)
    found = {one.problem["n"] for one in shared.get_kernel_sweeps(KERNEL, DEVICE, HASH)}
    assert found == {3, *range(10, PAGE_ROWS + 10)}


def test_what_was_published_since_is_read_after_a_refresh(store: Store, counting: Counting) -> None:
    shared, done = shared_on(counting), sweep(1)
    assert shared.get_sweeps(done.problem, DEVICE, HASH) == []
    store.put_sweep(done)
    assert shared.get_sweeps(done.problem, DEVICE, HASH) == []
    shared.refresh(done.problem, DEVICE, HASH)
    assert [one.uid for one in shared.get_sweeps(done.problem, DEVICE, HASH)] == [done.uid]
    assert [one.uid for one in shared.get_sweeps(done.problem, DEVICE, HASH)] == [done.uid]
    assert counting.read == ["get_newest", "get_sweeps"]


def test_a_problems_pinned_sweep_is_read_though_thousands_came_after_it(store: Store, counting: Counting) -> None:
    old = sweep(0)
    store.put_sweep(old)
    store.marks.put(old.uid, Mark(MarkKind.PIN, "by hand"))
    fill(store, PAGE_ROWS + 5, first=1)
    (found,) = shared_on(counting).get_sweeps(old.problem, DEVICE, HASH)
    assert found.is_pinned


def test_the_first_read_of_a_large_kernel_ends_within_the_second_that_a_call_waits(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.db")) as store:
        fill(store, 20_000)
        times = []
        for _ in range(3):  # a busy machine may be slow once
            begun = time.monotonic()
            newest, is_whole = store.get_newest(KERNEL, DEVICE, HASH, PAGE_ROWS)
            times.append(time.monotonic() - begun)
            assert (len(newest), is_whole) == (PAGE_ROWS, False)
            assert [one.problem["n"] for one in newest[:2]] == [19_999, 19_998]
        assert min(times) < 1.0
