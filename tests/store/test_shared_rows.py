"""Rows of a shared store that a process has read: a refresh counts, whenever it comes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.samples import DEVICE, HASH, sweep
from tunedb.core.sweep import Sweep
from tunedb.store import Store, open_store
from tunedb.store.shared import SharedStore
from tunedb.store.shared_rows import DEVICES_FOR_S

FIRST, SECOND = sweep(uid="a" * 32), sweep(uid="b" * 32)
IDENTITY = FIRST.problem, DEVICE, HASH
pytestmark = pytest.mark.usefixtures("patience")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A shared store with one sweep."""
    path = str(tmp_path / "shared.db")
    with open_store(path) as store:
        store.put_sweep(FIRST)
    return path


@pytest.fixture
def shared(path: str) -> Iterator[SharedStore]:
    """The shared store as a process has it."""
    shared = SharedStore(path, lambda: open_store(path), deadline=60.0)
    yield shared
    shared.close()


def uids(sweeps: list[Sweep]) -> set[str]:
    return {one.uid for one in sweeps}


def test_a_refresh_that_comes_while_rows_are_read_is_not_lost(
    path: str, shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = Store.get_sweeps, []

    def get_sweeps(store: Store, *identity: Any) -> list[Sweep]:
        rows = read(store, *identity)
        if not reads:  # another process publishes, and a thread of this one hears of it
            store.put_sweep(SECOND)
            shared.refresh(*IDENTITY)
        reads.append(1)
        return rows

    monkeypatch.setattr(Store, "get_sweeps", get_sweeps)
    shared.refresh(*IDENTITY)
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid}
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid, SECOND.uid}
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid, SECOND.uid}
    assert len(reads) == 2


def test_of_two_threads_that_read_the_later_read_is_kept(
    path: str, shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that read first goes on last."""
    ask, has_read, go_on = shared._rows.ask, threading.Event(), threading.Event()

    def slow_ask(work: Any) -> Any:
        rows = ask(work)
        if threading.current_thread() is slow:
            has_read.set()
            assert go_on.wait(60)
        return rows

    monkeypatch.setattr(shared._rows, "ask", slow_ask)
    shared.refresh(*IDENTITY)
    slow = threading.Thread(target=lambda: shared.get_sweeps(*IDENTITY))
    slow.start()
    assert has_read.wait(60)
    with open_store(path) as store:
        store.put_sweep(SECOND)
    shared.refresh(*IDENTITY)
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid, SECOND.uid}
    go_on.set()
    slow.join(60)
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid, SECOND.uid}


def test_without_an_answer_the_rows_from_before_serve(
    path: str, shared: SharedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.refresh(*IDENTITY)
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid}
    shared.refresh(*IDENTITY)
    monkeypatch.setattr(shared._rows, "ask", lambda work: None)
    assert uids(shared.get_sweeps(*IDENTITY)) == {FIRST.uid}


def test_the_devices_of_a_kernel_are_read_again_after_a_minute_or_a_refresh(
    path: str,
) -> None:
    moment = [0.0]
    shared = SharedStore(path, lambda: open_store(path), deadline=60.0, monotonic=lambda: moment[0])
    other = dataclasses.replace(DEVICE, name="NVIDIA H100")
    assert shared.get_devices(HASH) == [DEVICE]
    with open_store(path) as store:
        store.put_sweep(sweep(uid="c" * 32, device=other))
    assert shared.get_devices(HASH) == [DEVICE]
    moment[0] += DEVICES_FOR_S
    assert set(shared.get_devices(HASH)) == {DEVICE, other}
    with open_store(path) as store:
        store.put_sweep(sweep(uid="d" * 32, device=dataclasses.replace(DEVICE, name="NVIDIA L4")))
    shared.refresh(*IDENTITY)
    assert len(shared.get_devices(HASH)) == 3
    moment[0] += DEVICES_FOR_S
    shared._rows._is_usable = lambda: False  # the store is left alone after a failure
    assert len(shared.get_devices(HASH)) == 3
    shared.close()
