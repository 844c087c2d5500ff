"""Sweeps that are sent to a store later than their calls could wait, on each engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.store.samples import sweep
from tests.store.test_claims import FIRST, KEY, SECOND, busy_url, expired, publish
from tunedb.core.claim import Claim, Claimant, ClaimState
from tunedb.core.sweep import Mark, MarkKind, Sweep, now
from tunedb.store import Store, open_store
from tunedb.store.claim_keeper import Publication

__all__ = ["busy_url"]


def later(store: Store, done: Sweep, claim: Claim | None = None, *, is_first: bool = True) -> str:
    """What becomes of a sweep that is sent later."""
    return store.publish_late(done, claim, FIRST, is_first=is_first).value


def test_a_sweep_that_is_sent_later_waits_for_the_one_who_holds_the_claim_and_is_kept_if_that_one_fails(
    store: Store,
) -> None:
    old, done = expired(store), sweep()
    theirs = store.claims.take(KEY, SECOND)
    for claim in (None, old):
        assert later(store, done, claim) == "unknown"
        assert store.claims.renew(theirs, 60)
    assert len(store.upkeep.uids()) == 0
    store.claims.end(theirs, ClaimState.FAILED)
    assert later(store, done, old) == "kept"
    assert later(store, done, old) == "kept"  # the answer of the first time may have been lost
    assert list(store.upkeep.uids()) == [done.uid]
    assert store.claims.get(KEY).state == "released"


@pytest.mark.parametrize("place", [None, "a lock file"])
def test_a_sweep_that_is_sent_later_leaves_its_own_process_and_its_own_host_the_claim(
    store: Store, place: str | None
) -> None:
    """They may tune the problem again by now; who sends later does not hold the lock file."""
    first = replace(FIRST, place=place)
    ours = store.claims.take(KEY, first)
    assert store.publish_late(sweep(), None, first, is_first=True) == Publication.UNKNOWN
    assert store.publish_late(sweep(), None, Claimant("second", place), is_first=True) == Publication.UNKNOWN
    assert publish(store, sweep(), ours)


def test_a_sweep_that_is_sent_later_under_a_claim_that_still_holds_gives_it_back(store: Store) -> None:
    ours, done = store.claims.take(KEY, FIRST), sweep()
    assert later(store, done, ours) == "kept"
    assert (store.claims.get(KEY).state, store.claims.get(KEY).attempt) == ("released", ours.attempt)


@pytest.mark.parametrize("state", [ClaimState.RELEASED, ClaimState.FAILED])
def test_a_sweep_that_is_sent_later_yields_to_one_that_is_stored(store: Store, state: ClaimState) -> None:
    theirs = sweep()
    assert publish(store, theirs, store.claims.take(KEY, SECOND), SECOND)
    store.claims.end(store.claims.take(KEY, SECOND), state)  # a later attempt
    assert later(store, sweep()) == "overtaken"
    assert list(store.upkeep.uids()) == [theirs.uid]
    store.marks.put(theirs.uid, Mark(MarkKind.QUARANTINE, "wrong"))
    assert later(store, sweep()) == "kept"


def test_sweeps_of_one_host_that_are_sent_later_one_after_the_other_are_all_kept(store: Store) -> None:
    """The second one was forced, and replaces the first; both ended before the first one arrived."""
    first = sweep(started=now() - timedelta(minutes=9), finished=now() - timedelta(minutes=8))
    second = sweep(started=now() - timedelta(minutes=7), finished=now() - timedelta(minutes=6))
    assert later(store, first) == "kept"
    assert later(store, second, is_first=False) == "kept"
    assert later(store, replace(second, uid="0" * 32, host="another"), is_first=False) == "overtaken"
    assert set(store.upkeep.uids()) == {first.uid, second.uid}


def test_of_sweeps_that_are_sent_later_at_once_one_is_kept(busy_url: str) -> None:
    def send(_: int) -> str:
        with open_store(busy_url) as store:
            return later(store, sweep())

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(send, range(6))) == ["kept", *["overtaken"] * 5]
