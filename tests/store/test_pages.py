"""Large imports: committed in pages, so that others read and write meanwhile; what a huge row costs."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.samples import DEVICE, HASH, sweep, trial
from tests.store.test_jsonl import text_of
from tunedb.core.sweep import Sweep
from tunedb.errors import ImportRejected
from tunedb.store import open_store
from tunedb.store.exchange.jsonl import checked_file
from tunedb.store.sql import store as store_module
from tunedb.store.sql.engine import locate
from tunedb.store.sql.models import MAX_TEXT
from tunedb.store.sql.sweep_rows import SweepRows

BUSY_S = 0.05  # the patience of the others


def many(count: int) -> list[Sweep]:
    return [sweep(n, trials=(trial(128),)) for n in range(count)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with one sweep."""
    url = f"sqlite:///{tmp_path}/store.db"
    with open_store(url) as store:
        store.put_sweep(sweep(-1))
    return url


def reads(url: str) -> None:
    """Look up as a call does, with little patience."""
    with open_store(url, busy_timeout=BUSY_S) as other:
        assert len(other.get_sweeps(sweep(-1).problem, DEVICE, HASH)) == 1


def test_readers_are_never_locked_out_while_a_page_outgrows_the_cache(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PAGE_S", 600)
    big = [sweep(n, trials=[trial(128), *(trial(256, error="x" * 4000) for _ in range(60))]) for n in range(15)]
    put, seen = SweepRows.put, []

    def put_and_read(self: SweepRows, *arguments: object) -> bool:
        reads(url)
        seen.append(1)
        return put(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SweepRows, "put", put_and_read)
    with open_store(url) as store:
        assert store.put_sweeps(big) == (15, 0)  # 3.6 MB in one transaction, in a cache of 2 MB
    assert len(seen) == 15


def test_others_write_between_two_pages_and_see_what_is_stored(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PAGE", 2)
    monkeypatch.setattr(store_module, "PAGE_S", 600)  # however busy the machine is
    pauses = []

    def write(seconds: float) -> None:
        with open_store(url, busy_timeout=BUSY_S) as other:
            pauses.append(len(other.upkeep.uids()))
            assert other.put_sweep(sweep(1000 + len(pauses)))

    monkeypatch.setattr(store_module.time, "sleep", write)
    with open_store(url) as store:
        assert store.put_sweeps(many(5)) == (5, 0)
    assert pauses == [3, 6]


def test_a_page_ends_when_its_time_is_over(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PAGE_S", 0.0)
    pauses: list[float] = []
    monkeypatch.setattr(store_module.time, "sleep", pauses.append)
    with open_store(url) as store:
        assert store.put_sweeps(many(4)) == (4, 0)
    assert pauses == [store_module.PAUSE_S] * 3


def interrupted(sweeps: list[Sweep]) -> Iterator[Sweep]:
    yield from sweeps[:5]
    raise KeyboardInterrupt


def test_an_import_that_was_interrupted_is_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PAGE", 2)
    monkeypatch.setattr(store_module, "PAGE_S", 600)  # however busy the machine is
    monkeypatch.setattr(store_module, "PAUSE_S", 0)
    sweeps = many(7)
    with open_store(url) as store:
        with pytest.raises(KeyboardInterrupt):
            store.put_sweeps(interrupted(sweeps))
        assert len(store.upkeep.uids()) == 1 + 4
        assert store.put_sweeps(sweeps) == (3, 4)


def test_a_stream_that_can_be_read_once_is_checked_as_a_whole_before_any_of_it_is_given(url: str) -> None:
    text = text_of(many(3))
    for content, is_good in ((text, True), (text.replace('"time_us":12.5', '"time_us":1.5', 1), False)):
        end, begin = os.pipe()
        writer = threading.Thread(target=lambda: (os.write(begin, content.encode()), os.close(begin)))  # noqa: B023
        writer.start()
        with os.fdopen(end, "rb") as pipe, open_store(url) as store:
            if is_good:
                with checked_file(pipe) as file:
                    assert (store.put_sweeps(file.sweeps()), file.rejected) == ((3, 0), ())
            else:
                with pytest.raises(ImportRejected, match="checksum is wrong"), checked_file(pipe):
                    pass
        writer.join()


def test_a_line_that_never_ends_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.store.exchange.jsonl.MAX_LINE", 1000)
    head = text_of([]).encode().partition(b"\n")[0]
    with (
        pytest.raises(ImportRejected, match="longer than 1000 bytes"),
        checked_file(io.BytesIO(head + b"\n" + b"x" * 9**6)),
    ):
        pass


@pytest.mark.parametrize("column", ["key", "info", "host", "environment", "config", "reason", "error"])
def test_a_huge_text_takes_no_memory_here(column: str, url: str) -> None:
    table = {"key": "problem", "info": "device", "reason": "mark", "error": "trial"}.get(column, "sweep")
    size = 20 * 2**20
    with open_store(url) as store:
        store.put_sweep(sweep(1, origin="imported"))
    with locate(url).write() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = printf('%.*c', {size}, 'x') WHERE id = 1")
    tracemalloc.start()
    try:
        with open_store(url) as store:
            list(store.iter_sweeps(with_trials=True))
            store.marks.get_all()
            store.upkeep.devices()
        assert tracemalloc.get_traced_memory()[1] < size / 2
    finally:
        tracemalloc.stop()


def test_what_is_too_long_to_be_read_is_not_stored(url: str) -> None:
    with open_store(url) as store, pytest.raises(ValueError, match=f"at most {MAX_TEXT} characters"):
        store.put_sweep(sweep(host="x" * (MAX_TEXT + 1)))
