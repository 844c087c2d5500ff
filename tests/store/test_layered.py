"""The local and the shared store as one: marks of either count, and who wins does not depend on the layer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakes import FakeKernel, config
from tests.store.samples import DEVICE, HASH, sweep
from tests.tuner.tuners import tuner_on
from tunedb.core.sweep import Mark
from tunedb.store import Store, open_store
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore, united
from tunedb.store.shared import SharedStore


@pytest.fixture
def shared_store(tmp_path: Path) -> Store:
    """A store that stands for the shared one."""
    return open_store(str(tmp_path / "shared.db"))


def layers(tmp_path: Path, store: Store) -> LayeredStore:
    path = str(tmp_path / "shared.db")
    return LayeredStore(GuardedStore("local", lambda: store), SharedStore(path, lambda: open_store(path), deadline=5))


def test_a_sweep_of_the_shared_store_answers(tmp_path: Path, store: Store, shared_store: Store) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(shared_store, tmp_path).choose(kernel, kernel.problem(), -1)
    choice = tuner_on(layers(tmp_path, store), tmp_path, mode="read").choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source) == (config(2), "store")


def test_a_mark_made_here_holds_for_a_sweep_that_is_only_there(
    tmp_path: Path, store: Store, shared_store: Store
) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(shared_store, tmp_path).choose(kernel, kernel.problem(), -1)
    (there,) = shared_store.iter_sweeps()
    store.marks.put(there.uid, Mark("quarantine", "wrong on this machine"))
    choice = tuner_on(layers(tmp_path, store), tmp_path, mode="read").choose(kernel, kernel.problem(), -1)
    assert choice.source == "default"


def test_copies_of_a_sweep_are_one_with_the_marks_of_both(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    (found,) = store.iter_sweeps()
    pin, quarantine = Mark("pin", "a"), Mark("quarantine", "b")
    store.marks.put(found.uid, pin)
    (pinned,) = store.iter_sweeps()
    store.marks.put(found.uid, quarantine)
    (both,) = store.iter_sweeps()
    (one,) = united([found, pinned, both])
    assert {mark.uid for mark in one.marks} == {pin.uid, quarantine.uid}


def test_settings_that_change_keep_the_shared_store_that_was_read(tmp_path: Path, shared_store: Store) -> None:
    import tunedb
    from tunedb.tuner import session

    tunedb.configure(shared=str(tmp_path / "shared.db"))
    before = session.active().store
    with tunedb.using(budget=1):
        now = session.active().store
        assert isinstance(before, LayeredStore)
        assert isinstance(now, LayeredStore)
        assert now.shared is before.shared


def test_importing_what_a_shared_store_needs_is_no_wait_for_it(shared_store: Store) -> None:
    put, loads = sweep(), []

    def load() -> None:
        loads.append(time.sleep(0.3))  # longer than a call waits for the store

    shared = SharedStore("shared", lambda: shared_store, load=load, deadline=0.2)
    shared_store.put_sweep(put)
    for _ in range(2):
        assert [found.uid for found in shared.get_sweeps(put.problem, DEVICE, HASH)] == [put.uid]
    assert len(loads) == 1
