"""A store whose definitions or revision someone altered: each use of it ends in one line, and its rows stay."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest

from tests.store.samples import sweep
from tunedb.core.device import Device
from tunedb.errors import SchemaMismatch, SchemaNewer, StoreError
from tunedb.store import check, open_store, upgrade
from tunedb.store.sql.engine import locate
from tunedb.store.sql.schema import VERSION_TABLE


@pytest.fixture(autouse=True)
def quick_schemas() -> None:
    """Alembic makes every store here."""


@pytest.mark.parametrize("work", [open_store, upgrade, check])
@pytest.mark.parametrize("odd", [b"\xff", 3, "zzz", "!", "x" * 100_000, "\x1b[2J", 2.5], ids=lambda odd: ascii(odd)[:9])
def test_a_revision_that_no_tunedb_wrote_is_refused_in_a_line(work: Any, odd: object, file_url: str) -> None:
    upgrade(file_url)
    with contextlib.closing(sqlite3.connect(file_url.removeprefix("sqlite:///"))) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", [odd])
        connection.commit()
    with pytest.raises(SchemaMismatch, match="no tunedb wrote") as caught:
        work(file_url)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_of_several_revisions_the_newest_counts(file_url: str) -> None:
    upgrade(file_url)
    with locate(file_url).write() as connection:
        connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ('0009')")
    with pytest.raises(SchemaNewer):
        open_store(file_url)


@pytest.mark.parametrize("column", ["sweep(host)", "problem(kernel)", "device(multiprocessors)"])
def test_an_index_of_someone_else_that_refuses_a_row_is_a_failure_of_the_store(column: str, file_url: str) -> None:
    store = open_store(file_url)
    store.put_sweep(sweep(1))
    with locate(file_url).write() as connection:
        connection.exec_driver_sql(f"CREATE UNIQUE INDEX someone ON {column}")
    with pytest.raises(StoreError, match="Run: tunedb db check"):
        store.put_sweep(sweep(2, device=Device("NVIDIA H300", "cuda", "sm_90", 132)))
    assert [each.problem["n"] for each in store.iter_sweeps()] == [1]
