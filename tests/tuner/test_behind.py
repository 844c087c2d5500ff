"""Sweeps that end behind another process's: all go on with one config, and say it once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import FakeKernel, task_of
from tests.tuner.hosts import Host, eventually, key_of, shared_path, uid_of
from tunedb.core.sweep import Mark
from tunedb.store import open_store
from tunedb.tuner.tuning_result import Answered, Swept

TIMES = {1: 9.0, 2: 5.0, 4: 7.0}
__all__ = ["shared_path"]
pytestmark = pytest.mark.usefixtures("patience")


def away(host: Host) -> Callable[[], None]:
    """Have a host's shared store rest; return what brings it back."""
    breakers = host.store.shared._reads, host.store.shared._writes
    for breaker in breakers:
        breaker.trip()
    return lambda: [breaker.reset() for breaker in breakers] and None


def said(records: pytest.LogCaptureFixture, text: str) -> int:
    """How many records of a warning have the text."""
    return sum(text in record.getMessage() for record in records.records if record.levelname == "WARNING")


def statuses(host: Host) -> list[str]:
    """How the sweeps of a host's local store ended."""
    return [status for _, status in host.sweeps()]


def test_a_forced_sweep_that_began_without_the_shared_store_yields_to_one_published_meanwhile(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    """Both tune again what is stored; the first one to publish has the config that all use."""
    first, second = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b")
    before = first.call(FakeKernel(TIMES))
    back = away(second)
    theirs: list[str] = []

    def come_back(block: int) -> None:
        if block == 1:  # once, although several threads compile
            result = first.tuner.tune_ahead(task_of(FakeKernel({1: 9.0, 2: 5.0, 4: 3.0})), force=True)
            assert isinstance(result, Swept)
            theirs.append(result.sweep.uid)
            back()

    ours = second.tuner.tune_ahead(task_of(FakeKernel(TIMES, on_compile=come_back)), force=True)
    assert ours.choice is not None
    assert [uid_of(ours.choice)] == theirs
    assert ours.choice.config["BLOCK"] == 4
    assert said(records, "tuned it as well meanwhile; its result serves") == 1
    with open_store(shared_path) as store:
        assert set(store.upkeep.uids()) == {uid_of(before), *theirs}
    assert sorted(statuses(second)) == ["aborted", "tuned"]  # its own, and the copy of the one that serves


def test_a_forced_sweep_that_began_without_the_shared_store_is_kept_if_nothing_came_meanwhile(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    first, second = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b")
    before = uid_of(first.call(FakeKernel(TIMES)))
    back = away(second)
    ours = second.tuner.tune_ahead(task_of(FakeKernel(TIMES, on_compile=lambda _: back())), force=True)
    assert isinstance(ours, Swept)
    assert ours.choice is not None
    assert uid_of(ours.choice) == ours.sweep.uid != before
    with open_store(shared_path) as store:
        assert set(store.upkeep.uids()) == {before, ours.sweep.uid}
        assert store.claims.get(key_of(FakeKernel(TIMES))).state == "released"
    assert said(records, "result serves") == 0


def test_a_forced_sweep_without_a_claim_yields_to_one_that_is_claimed_now(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    """The other one is still at it: its result is waited for."""
    first, second = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b", lock_timeout=0.2)
    before = uid_of(first.call(FakeKernel(TIMES)))
    second.call(FakeKernel(TIMES))  # it has the sweep in memory, from the shared store
    back = away(second)

    def claim(block: int) -> None:
        with open_store(shared_path) as store:
            store.claims.take(key_of(FakeKernel(TIMES)), first.claimant)
        back()

    ours = second.tuner.tune_ahead(task_of(FakeKernel(TIMES, on_compile=claim)), force=True)
    assert ours.choice is not None
    assert uid_of(ours.choice) == before  # what serves until then
    with open_store(shared_path) as store:
        assert list(store.upkeep.uids()) == [before]
    assert said(records, "tuned it as well meanwhile") == 1


def test_a_sweep_that_began_without_the_shared_store_adopts_a_winner_that_it_did_not_know(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    """A pinned sweep stays the winner, whatever is published."""
    first, second = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b")
    pinned = uid_of(first.call(FakeKernel(TIMES)))
    with open_store(shared_path) as store:
        store.marks.put(pinned, Mark("pin", "by hand"))
    back = away(second)
    ours = second.tuner.tune_ahead(task_of(FakeKernel(TIMES, on_compile=lambda _: back())), force=True)
    assert isinstance(ours, Swept)
    assert ours.choice is not None
    assert uid_of(ours.choice) == pinned != ours.sweep.uid
    assert said(records, f"sweep {pinned[:12]} ranks before this one; its result serves") == 1
    again = second.tuner.tune_ahead(task_of(FakeKernel(TIMES)))
    assert isinstance(again, Answered)
    assert uid_of(again.choice) == pinned


def test_a_local_claim_is_given_back_although_another_hosts_sweep_serves(tmp_path: Path, shared_path: str) -> None:
    done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
    host = Host(tmp_path, shared_path, "a")
    open_store(host.url).close()
    host.store.local.get_whole("none")  # so that it is open
    kernel = FakeKernel(TIMES)
    back = away(host)
    states: list[str] = []

    def come_back(block: int) -> None:
        with open_store(host.url) as local:
            states.append(str(local.claims.get(key_of(kernel)).state))
        with open_store(shared_path) as store:
            store.put_sweep(done)
        back()

    kernel.on_compile = come_back
    assert uid_of(host.call(kernel)) == done.uid
    assert set(states) == {"held"}
    with open_store(host.url) as local:
        eventually(lambda: local.claims.get(key_of(kernel)).state == "released")
