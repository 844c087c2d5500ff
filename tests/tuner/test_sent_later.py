"""Sweeps that a shared store did not take, and that are sent to it later, after others may have tuned the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fakes import FakeKernel, task_of
from tests.tuner.hosts import Host, eventually, key_of, shared_path, uid_of
from tests.tuner.test_behind import away
from tunedb.core.claim import Claimant, ClaimState
from tunedb.core.sweep import Mark
from tunedb.store import Store, open_store
from tunedb.tuner.tuning_result import Swept

TIMES = {1: 9.0, 2: 5.0, 4: 7.0}
ANOTHER = Claimant("another process")
__all__ = ["shared_path"]
pytestmark = pytest.mark.usefixtures("patience")


def marks(host: Host, uid: str) -> tuple[Mark, ...]:
    """The marks of a sweep of a host's local store."""
    host.store.local.flush()
    with open_store(host.url) as store:
        return store.get_sweep(uid).marks


def arrived(store: Store, *uids: str) -> bool:
    """Whether the shared store has just these sweeps."""
    return set(store.upkeep.uids()) == set(uids)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_claimant_that_fails_overtakes_no_sweep_that_waits_to_be_sent(
    tmp_path: Path, shared_path: str, when: str, records: pytest.LogCaptureFixture
) -> None:
    """The other one ends before the sweep is sent, or holds the claim at that time."""
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    back = away(host)
    first = uid_of(host.call(kernel, 1))
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel, 1), ANOTHER)
        if when == "before":
            store.claims.end(claim, ClaimState.FAILED)
        back()
        second = uid_of(host.call(kernel, 2))
        if when == "after":
            host.store.shared.flush()
            assert arrived(store, second)
            assert store.claims.end(claim, ClaimState.FAILED), "it has its claim still"
        third = uid_of(host.call(kernel, 3))
        assert host.store.shared.flush()
        assert arrived(store, first, second, third)
    assert marks(host, first) == ()
    again = Host(tmp_path, shared_path, "a").call(FakeKernel(TIMES), 1)  # the next process of that host
    assert (uid_of(again), again.source) == (first, "store")
    assert "tuned it as well" not in records.text


def test_a_sweep_that_waits_to_be_sent_is_withdrawn_if_anothers_is_stored(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    host, other, kernel = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b"), FakeKernel(TIMES)
    back = away(host)
    ours = uid_of(host.call(kernel, 1))
    theirs = uid_of(other.call(FakeKernel({1: 9.0, 4: 3.0}), 1))
    back()
    second = uid_of(host.call(kernel, 2))
    assert host.store.shared.flush()
    with open_store(shared_path) as store:
        assert arrived(store, theirs, second)
    assert [str(mark.kind) for mark in marks(host, ours)] == ["quarantine"]
    assert records.text.count("the other's result serves") == 1
    assert uid_of(Host(tmp_path, shared_path, "a").call(FakeKernel(TIMES), 1)) == theirs


def test_sweeps_of_one_problem_that_were_forced_during_an_outage_all_arrive(tmp_path: Path, shared_path: str) -> None:
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    back = away(host)
    uids = [uid_of(host.call(kernel, 1))]
    for _ in range(2):
        result = host.tuner.tune_ahead(task_of(kernel), force=True)
        assert isinstance(result, Swept)
        uids.append(result.sweep.uid)
    back()
    assert host.store.shared.flush()
    with open_store(shared_path) as store:
        assert arrived(store, *uids)
    assert [marks(host, uid) for uid in uids] == [()] * 3


def test_a_call_that_went_on_keeps_its_sweep_although_another_process_has_the_claim_by_then(
    tmp_path: Path, shared_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited a second for a slow store; whatever is known later must not cost it a sweep that is good."""
    may_arrive, publish = threading.Event(), Store.publish
    monkeypatch.setattr(Store, "publish", lambda *given, **more: (may_arrive.wait(60), publish(*given, **more))[1])
    with open_store(shared_path) as store:

        def overtake(_: int) -> None:
            with store._access.write() as connection:
                connection.exec_driver_sql("UPDATE claim SET owner = 'another', attempt = 7")

        host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES, on_compile=overtake)
        host.store.shared.deadline = 0.05
        first = uid_of(host.call(kernel))
        may_arrive.set()
        eventually(lambda: not host.store.shared._sender.unfinished())
        assert (arrived(store), marks(host, first)) == (True, ())
        store.claims.end(store.claims.get(key_of(kernel)), ClaimState.FAILED)
        assert host.store.shared.flush()
        assert arrived(store, first)
        assert marks(host, first) == ()
