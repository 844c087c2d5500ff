"""Claims on each engine: one owner at a time, by the database's clock, fenced by the number of the attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.samples import DEVICE, HASH, sweep, without_trials
from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.problem import Problem
from tunedb.core.sweep import Mark, MarkKind, Sweep, now
from tunedb.store import Store, open_store, upgrade
from tunedb.store.claim_keeper import Publication

KEY = ClaimKey(sweep().problem, DEVICE, HASH)
FIRST, SECOND = Claimant("first"), Claimant("second")
SHORT = Claimant("short", lease=0.05)


def publish(store: Store, done: Sweep, claim: Claim | None, claimant: Claimant = FIRST) -> bool:
    """Publish a sweep of a problem of which nothing was stored; return whether it is kept."""
    return store.publish(done, claim, claimant, is_first=True) == Publication.KEPT


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def expired(store: Store, claimant: Claimant = SHORT) -> Claim:
    """A claim whose lease has run out."""
    claim = store.claims.take(KEY, claimant)
    assert claim.is_ours
    until(lambda: store.claims.get(KEY).age > 0)
    return claim


def test_a_claim_has_one_owner_until_it_is_given_back(store: Store) -> None:
    assert store.claims.get(KEY) is None
    ours = store.claims.take(KEY, FIRST)
    assert (ours.is_ours, ours.owner, ours.attempt, ours.state) == (True, "first", 1, "held")
    assert -61 < ours.age < 0
    theirs = store.claims.take(KEY, SECOND)
    assert (theirs.is_ours, theirs.owner, theirs.attempt) == (False, "first", 1)
    assert store.claims.end(ours, ClaimState.RELEASED)
    again = store.claims.take(KEY, SECOND)
    assert (again.is_ours, again.owner, again.attempt) == (True, "second", 2)


@pytest.mark.parametrize("place", [None, "a lock file"])
def test_an_owner_that_has_lost_its_claim_gets_it_again_as_a_new_attempt(store: Store, place: str | None) -> None:
    """As a process whose claim could not be given back, or a worker that replaces one which was killed."""
    owner = Claimant("owner", place)
    lost, again = store.claims.take(KEY, owner), store.claims.take(KEY, owner)
    assert (again.is_ours, again.owner, again.attempt) == (True, "owner", 2)
    assert not store.claims.end(lost, ClaimState.RELEASED)
    assert not store.claims.take(KEY, SECOND).is_ours


@pytest.mark.parametrize(
    "other",
    [
        ClaimKey(sweep(2).problem, DEVICE, HASH),
        ClaimKey(Problem(KEY.problem.key, "another"), DEVICE, HASH),
        ClaimKey(KEY.problem, replace(DEVICE, multiprocessors=114), HASH),
        ClaimKey(KEY.problem, DEVICE, "0" * 64),
    ],
)
def test_claims_of_another_identity_are_independent(store: Store, other: ClaimKey) -> None:
    assert store.claims.take(KEY, FIRST).is_ours
    assert store.claims.take(other, SECOND).is_ours


def test_a_claim_passes_on_when_its_lease_has_run_out_and_its_owner_is_fenced(store: Store) -> None:
    old = expired(store)
    new = store.claims.take(KEY, SECOND)
    assert (new.is_ours, new.attempt) == (True, 2)
    assert not store.claims.renew(old, 60)
    assert not store.claims.end(old, ClaimState.FAILED)
    assert (store.claims.get(KEY).owner, store.claims.get(KEY).attempt) == ("second", 2)
    assert not publish(store, sweep(), old)
    assert list(store.iter_sweeps(finished=False)) == []
    assert publish(store, sweep(), new)


def test_an_owner_whose_lease_ran_out_goes_on_if_nobody_has_taken_over(store: Store) -> None:
    late = expired(store)
    assert store.claims.renew(late, 60)
    assert not store.claims.take(KEY, SECOND).is_ours


def test_a_lease_that_is_renewed_begins_again(store: Store) -> None:
    claim = store.claims.take(KEY, Claimant("first", lease=9.0))
    assert -9.1 < store.claims.get(KEY).age < 0
    assert store.claims.renew(claim, 60)
    assert -60.1 < store.claims.get(KEY).age < -9.1
    assert store.claims.get(KEY).attempt == 1


def test_those_who_waited_while_a_sweep_failed_do_not_take_its_claim_and_others_do(store: Store) -> None:
    claim = store.claims.take(KEY, FIRST)
    assert store.claims.end(claim, ClaimState.FAILED)
    waited = store.claims.take(KEY, SECOND, waited=60.0)
    assert (waited.is_ours, waited.state, waited.attempt) == (False, "failed", 1)
    assert store.claims.take(KEY, SECOND).is_ours


def test_the_holder_of_a_lock_file_need_not_wait_for_the_lease_of_the_process_that_held_it(store: Store) -> None:
    dead = store.claims.take(KEY, Claimant("dead", place="a"))
    assert not store.claims.take(KEY, Claimant("elsewhere", place="b")).is_ours
    assert not store.claims.take(KEY, Claimant("without a lock file")).is_ours
    assert store.claims.take(KEY, Claimant("next", place="a")).is_ours
    assert not store.claims.renew(dead, 60)


def test_two_without_a_lock_file_are_not_taken_for_one_place(store: Store) -> None:
    assert store.claims.take(KEY, FIRST).is_ours
    assert not store.claims.take(KEY, SECOND).is_ours


@pytest.mark.parametrize("lease", [0.0, -1.0, 3600.5, float("inf"), float("nan")])
def test_a_lease_that_would_never_end_is_refused(lease: float) -> None:
    with pytest.raises(ValueError, match="a lease of at most 3600 s"):
        Claimant("first", lease=lease)


@pytest.mark.parametrize("state", ["held", "failed", "released"])
def test_a_claim_from_the_far_future_blocks_nobody(store: Store, state: str) -> None:
    store.claims.take(KEY, FIRST)
    with store._access.write() as connection:
        connection.exec_driver_sql(f"UPDATE claim SET state = '{state}', expires = '2999-01-01 00:00:00.000000'")
    assert store.claims.take(KEY, SECOND, waited=5.0).is_ours


@pytest.mark.parametrize(
    "odd", ["state = 'lost'", "expires = 'tomorrow'", "attempt = 'third'", "attempt = 2147483647", "owner = x'ff'"]
)
def test_a_claim_that_makes_no_sense_is_taken_over_at_once_or_when_its_lease_ends(tmp_path: Path, odd: str) -> None:
    with open_store(str(tmp_path / "store.db")) as store:
        store.claims.take(KEY, SHORT)
        with store._access.write() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql(f"UPDATE claim SET {odd}")
        until(lambda: store.claims.take(KEY, SECOND).is_ours)
        claim = store.claims.get(KEY)
        assert (claim.owner, claim.state) == ("second", "held")
        assert store.claims.end(claim, ClaimState.RELEASED)


def test_what_a_dead_process_holds_can_be_given_back_at_once(store: Store) -> None:
    keys = [ClaimKey(sweep(n).problem, DEVICE, HASH) for n in range(4)]
    for key in keys[:3]:
        store.claims.take(key, FIRST)
    store.claims.take(keys[3], SECOND)
    store.claims.end(store.claims.take(keys[2], FIRST), ClaimState.FAILED)
    assert store.claims.give_back("first") == 2
    assert [store.claims.get(key).state for key in keys] == ["released", "released", "failed", "held"]


def test_a_sweep_is_published_and_its_claim_given_back_at_once(store: Store) -> None:
    claim, done = store.claims.take(KEY, FIRST), sweep()
    assert publish(store, done, claim)
    assert store.get_sweeps(*_identity()) == [without_trials(done)]
    assert store.claims.get(KEY).state == "released"
    assert publish(store, done, claim)  # the answer of the first time may have been lost
    assert not publish(store, sweep(), claim)
    assert len(store.upkeep.uids()) == 1


def test_a_running_sweep_is_published_as_it_ended(store: Store) -> None:
    claim, done = store.claims.take(KEY, FIRST), sweep()
    store.start_sweep(
        replace(done, status="running", config=None, time_us=None, default_time_us=None, finished=None, trials=())
    )
    assert publish(store, done, claim)
    assert store.get_sweep(done.uid) == done


def test_of_those_that_swept_without_a_claim_the_first_to_publish_wins(store: Store) -> None:
    first, second, third = sweep(), sweep(), sweep(environment=replace(sweep().environment, triton="4.0.0"))
    assert publish(store, first, None, FIRST)
    assert not publish(store, second, None, SECOND)
    assert publish(store, third, None, SECOND)  # stale there, so it is no winner here
    assert set(store.upkeep.uids()) == {first.uid, third.uid}
    store.marks.put(first.uid, Mark(MarkKind.QUARANTINE, "wrong"))
    assert publish(store, second, None, SECOND)


def test_nothing_is_published_without_a_claim_while_another_process_holds_it(store: Store) -> None:
    claim = store.claims.take(KEY, FIRST)
    assert not publish(store, sweep(), None, SECOND)
    assert store.claims.renew(claim, 60)
    assert len(store.upkeep.uids()) == 0


@pytest.mark.parametrize("days", [-1, 1])
def test_what_was_published_since_a_sweep_began_is_known_by_the_databases_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The clock of the host that published is a day behind or ahead."""
    monkeypatch.setattr(store._rows, "_now", lambda: now() + timedelta(days=days))
    assert publish(store, sweep(), store.claims.take(KEY, FIRST))
    late = sweep(started=now() - timedelta(hours=1), host="another")
    assert store.publish(late, None, SECOND, is_first=False) == Publication.OVERTAKEN
    time.sleep(0.05)  # of the milliseconds that SQLite's clock has
    after = sweep(started=now())
    store.claims.end(store.claims.take(KEY, FIRST), ClaimState.RELEASED)  # an interrupt: nothing is published
    assert store.publish(after, None, SECOND, is_first=False) == Publication.KEPT


def _identity() -> tuple[object, ...]:
    return KEY.problem, KEY.device, KEY.kernel_hash


@pytest.fixture(params=["file", "postgresql", "pgbouncer"])
def busy_url(request: pytest.FixtureRequest, file_url: str) -> str:
    """The URL of an empty store that many claim in at once: also behind a pooler."""
    if request.param == "file":
        open_store(file_url).close()
        return file_url
    url: str = request.getfixturevalue("postgresql_url")
    upgrade(url)
    return url if request.param == "postgresql" else str(request.getfixturevalue("pgbouncer"))


def test_of_many_that_claim_at_once_each_time_one_gets_it(busy_url: str) -> None:
    def claim(n: int) -> list[int]:
        with open_store(busy_url) as store:
            return [
                number
                for number in range(12)
                if store.claims.take(ClaimKey(sweep(number).problem, DEVICE, HASH), Claimant(f"owner {n}")).is_ours
            ]

    with ThreadPoolExecutor(8) as pool:
        taken = [number for numbers in pool.map(claim, range(8)) for number in numbers]
    assert sorted(taken) == list(range(12))


def test_each_take_over_has_its_own_number_however_many_race_for_it(busy_url: str) -> None:
    def claim(n: int) -> list[int]:
        with open_store(busy_url) as store:
            attempts = []
            for _ in range(10):
                claim = store.claims.take(KEY, Claimant(f"owner {n}"))
                if claim.is_ours:
                    attempts.append(claim.attempt)
                    assert store.claims.renew(claim, 60)
                    assert store.claims.end(claim, ClaimState.RELEASED)
            return attempts

    with ThreadPoolExecutor(6) as pool:
        attempts = [number for numbers in pool.map(claim, range(6)) for number in numbers]
    assert sorted(attempts) == list(range(1, len(attempts) + 1))


@pytest.mark.usefixtures("postgresql_url")
def test_everything_about_a_claim_works_through_a_pooler(pgbouncer: str) -> None:
    assert upgrade(pgbouncer) is None
    with open_store(pgbouncer) as store:
        old = expired(store)
        new = store.claims.take(KEY, SECOND)
        assert (new.is_ours, new.attempt) == (True, 2)
        assert not store.claims.renew(old, 60)
        assert not publish(store, sweep(), old)
        assert publish(store, sweep(), new)
        assert store.claims.get(KEY).state == "released"
        assert len(store.upkeep.uids()) == 1


def test_claims_that_ended_long_ago_are_removed(store: Store) -> None:
    old, new = KEY, replace(KEY, kernel_hash="0" * 64)
    ended = store.claims.take(old, FIRST)
    assert store.claims.end(ended, ClaimState.RELEASED)
    store.claims.take(new, SECOND)
    assert (store.claims.count_old(timedelta(hours=1)), store.claims.remove_old(timedelta(hours=1))) == (0, 0)
    until(lambda: store.claims.count_old(timedelta(seconds=0.01)) == 1)
    assert store.claims.remove_old(timedelta(seconds=0.01)) == 1
    assert store.claims.get(old) is None
    assert not store.claims.take(new, FIRST).is_ours
    assert not store.claims.end(ended, ClaimState.RELEASED)
    again = store.claims.take(old, SECOND)
    assert (again.is_ours, again.attempt) == (True, 1)
    assert not store.claims.end(ended, ClaimState.RELEASED), "its former owner is fenced"
