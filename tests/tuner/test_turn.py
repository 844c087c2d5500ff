"""The turn to sweep: one process of all that use a store sweeps a problem, and the others adopt what it published."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import pytest

from tests.fakes import DEVICE, ENVIRONMENT, FakeClock, FakeKernel, task_of
from tests.tuner.hosts import Host, eventually, in_thread, key_of, shared_path, uid_of
from tunedb import settings
from tunedb.core.claim import Claimant, ClaimKey, ClaimState
from tunedb.core.task import Choice
from tunedb.errors import HostFaultError, StickyDeviceError
from tunedb.store import Store, open_store
from tunedb.store.claim_keeper import Publication
from tunedb.store.shared import SharedStore
from tunedb.tuner import turn
from tunedb.tuner.tuner import Tuner
from tunedb.tuner.tuning_result import Answered, Skipped, Swept

TIMES = {1: 9.0, 2: 5.0, 4: 7.0}
ANOTHER = Claimant("another process")
__all__ = ["shared_path"]
pytestmark = pytest.mark.usefixtures("patience")


def test_of_two_hosts_one_sweeps_and_the_other_adopts_its_sweep(tmp_path: Path, shared_path: str) -> None:
    first, second = Host(tmp_path, shared_path, "a"), Host(tmp_path, shared_path, "b")
    begun, go_on = threading.Event(), threading.Event()
    slow = FakeKernel(TIMES, on_compile=lambda _: (begun.set(), go_on.wait(60)))
    swept = in_thread(lambda: first.call(slow))
    begun.wait(60)
    idle = FakeKernel(TIMES)
    adopted = in_thread(lambda: second.call(idle))
    with open_store(shared_path) as store:
        eventually(lambda: store.claims.get(key_of(idle)).state == "held")
        go_on.set()
        assert uid_of(swept()) == uid_of(adopted())
        assert (swept().source, adopted().source, idle.tried) == ("sweep", "store", [])
        assert list(store.upkeep.uids()) == [uid_of(swept())]
        eventually(lambda: store.claims.get(key_of(idle)).state == "released")
    assert second.sweeps() == []


def test_one_who_waited_for_a_sweep_that_was_published_does_not_take_its_claim(
    tmp_path: Path, shared_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, kernel, looked = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES), threading.Event()
    done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
    claims, get = host.store.shared.claims, host.store.shared.claims.get
    monkeypatch.setattr(claims, "get", lambda *given: (looked.set(), get(*given))[1])
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel), ANOTHER)
        call = in_thread(lambda: host.call(kernel))
        assert looked.wait(60)
        assert store.publish(done, claim, ANOTHER, is_first=True) == Publication.KEPT
        assert uid_of(call()) == done.uid
        assert store.claims.get(key_of(kernel)).attempt == 1


def test_a_claim_that_is_free_again_without_a_sweep_is_taken_by_one_who_waits(
    tmp_path: Path, shared_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, kernel, looked = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES), threading.Event()
    get = host.store.shared.claims.get
    monkeypatch.setattr(host.store.shared.claims, "get", lambda *given: (looked.set(), get(*given))[1])
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel), ANOTHER)
        call = in_thread(lambda: host.call(kernel))
        assert looked.wait(60)
        assert kernel.tried == []
        store.claims.end(claim, ClaimState.RELEASED)
        assert call().source == "sweep"


def test_those_who_wait_for_a_sweep_that_fails_take_the_default_and_do_not_try(
    tmp_path: Path, shared_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    waiting: list[object] = []
    looked, get, lock = threading.Event(), host.store.shared.claims.get, turn.lock_problem
    monkeypatch.setattr(host.store.shared.claims, "get", lambda *given: (looked.set(), get(*given))[1])
    monkeypatch.setattr(turn, "lock_problem", lambda *given: (waiting.append(given), lock(*given))[1])
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel), ANOTHER)
        calls = [in_thread(lambda: host.call(kernel)), in_thread(lambda: host.call(kernel))]
        assert looked.wait(60)  # one waits for the claim
        eventually(lambda: len(waiting) == 2)  # the other one for its thread
        store.claims.end(claim, ClaimState.FAILED)
        assert [call().source for call in calls] == ["default"] * 2
    assert kernel.tried == []
    assert Host(tmp_path, shared_path, "b").call(kernel).source == "sweep"  # which did not wait


def test_a_sweep_that_fails_gives_its_claim_back_as_failed(tmp_path: Path, shared_path: str) -> None:
    kernel = FakeKernel({1: "runtime_error", 2: "wrong"})
    assert Host(tmp_path, shared_path, "a").call(kernel).source == "default"
    with open_store(shared_path) as store:
        eventually(lambda: store.claims.get(key_of(kernel)).state == "failed")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("odd"), "failed"),
        (KeyboardInterrupt(), "released"),
        (OSError(errno.ENOSPC, "No space left on device"), "released"),
        (MemoryError(), "released"),
    ],
)
def test_an_error_gives_the_claim_back_as_failed_and_an_interrupt_or_a_fault_of_the_host_as_free(
    tmp_path: Path, shared_path: str, error: BaseException, state: str
) -> None:
    def fail(block: int) -> None:
        raise error

    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES, on_compile=fail)
    try:
        assert host.call(kernel).source == "default"
    except KeyboardInterrupt:
        assert state == "released"
    with open_store(shared_path) as store:
        eventually(lambda: store.claims.get(key_of(kernel)).state == state)


@pytest.mark.parametrize(("fault", "state"), [(HostFaultError, "released"), (StickyDeviceError, "failed")])
def test_a_sweep_without_a_winner_is_free_for_others_unless_it_would_cost_them_their_device(
    tmp_path: Path, shared_path: str, fault: type[Exception], state: str
) -> None:
    def fail(block: int) -> None:
        raise fault("as the test says")

    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES, on_compile=fail)
    result = host.tuner.tune_ahead(task_of(kernel))
    assert isinstance(result, Swept)
    assert (result.sweep.status, result.choice) == ("aborted", None)
    with open_store(shared_path) as store:
        eventually(lambda: store.claims.get(key_of(kernel)).state == state)


def test_past_the_bound_a_call_takes_the_default_and_asks_again_later(tmp_path: Path, shared_path: str) -> None:
    host, kernel = Host(tmp_path, shared_path, "a", lock_timeout=0.2), FakeKernel(TIMES)
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel), ANOTHER)
        begun = time.monotonic()
        assert host.call(kernel).source == "default"
        assert time.monotonic() - begun > 0.2
        assert kernel.tried == []
        assert host.tuner.cache.has_weak
        store.claims.end(claim, ClaimState.RELEASED)


def test_a_killed_owners_claim_passes_on_after_its_lease(tmp_path: Path, shared_path: str) -> None:
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    with open_store(shared_path) as store:
        store.claims.take(key_of(kernel), Claimant("killed", lease=0.3))
        assert host.call(kernel).source == "sweep"
        assert store.claims.get(key_of(kernel)).attempt == 2


def test_a_claim_is_renewed_for_as_long_as_the_sweep_runs(tmp_path: Path, shared_path: str) -> None:
    begun, go_on = threading.Event(), threading.Event()
    kernel = FakeKernel(TIMES, on_compile=lambda _: (begun.set(), go_on.wait(60)))
    host = Host(tmp_path, shared_path, "a", lease=2.0)
    call = in_thread(lambda: host.call(kernel))
    begun.wait(60)
    with open_store(shared_path) as store:
        first = store.claims.get(key_of(kernel))
        renewed = []

        def is_renewed() -> bool:
            renewed.append(store.claims.get(key_of(kernel)).age)
            return len(renewed) > 1 and renewed[-1] < renewed[-2]

        eventually(is_renewed)
        go_on.set()
        assert call().source == "sweep"
        assert store.claims.get(key_of(kernel)).attempt == first.attempt


def test_an_owner_that_was_overtaken_publishes_nothing_and_adopts_the_others_sweep(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    """As a process that was stopped for longer than its lease, while another one tuned the problem."""
    other = Host(tmp_path, shared_path, "b")
    theirs: list[Choice] = []

    def pause(block: int) -> None:
        if block == 1:  # once, although several threads compile
            with open_store(shared_path) as store, store._access.write() as connection:
                connection.exec_driver_sql("UPDATE claim SET expires = '2000-01-01 00:00:00.000000'")
            theirs.append(other.call(FakeKernel({1: 9.0, 4: 3.0})))

    host = Host(tmp_path, shared_path, "a")
    choice = host.call(FakeKernel(TIMES, on_compile=pause))
    assert uid_of(choice) == uid_of(theirs[0])
    assert choice.config["BLOCK"] == 4
    with open_store(shared_path) as store:
        assert list(store.upkeep.uids()) == [uid_of(choice)]
    assert [status for _, status in host.sweeps()] == ["aborted"]
    said = [record.getMessage() for record in records.records if "tuned it as well meanwhile" in record.getMessage()]
    assert len(said) == 1
    assert "its result serves" in said[0]
    again = Host(tmp_path, shared_path, "a").call(FakeKernel(TIMES))  # the next process of that host
    assert (uid_of(again), again.source) == (uid_of(choice), "store")


def test_one_that_was_overtaken_waits_for_the_others_sweep_which_still_runs(tmp_path: Path, shared_path: str) -> None:
    kernel = FakeKernel(TIMES)
    with open_store(shared_path) as store:

        def overtake(block: int) -> None:
            with store._access.write() as connection:
                connection.exec_driver_sql("UPDATE claim SET owner = 'another process', attempt = 7")

        def publish() -> str:
            done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
            time.sleep(0.3)
            claim = store.claims.get(key_of(kernel))
            assert store.publish(done, claim, ANOTHER, is_first=True) == Publication.KEPT
            return done.uid

        kernel.on_compile = overtake
        host = Host(tmp_path, shared_path, "a")
        call = in_thread(lambda: host.call(kernel))
        eventually(lambda: (found := store.claims.get(key_of(kernel))) is not None and found.attempt == 7)
        assert publish() == uid_of(call())


def test_one_that_learns_only_later_that_it_was_overtaken_changes_to_the_others_sweep(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
    may_arrive, publish = threading.Event(), Store.publish
    monkeypatch.setattr(Store, "publish", lambda *given, **more: (may_arrive.wait(60), publish(*given, **more))[1])
    with open_store(shared_path) as store:

        def overtake(block: int) -> None:
            store.put_sweep(done)
            with store._access.write() as connection:
                connection.exec_driver_sql("UPDATE claim SET owner = 'another', attempt = 7, state = 'released'")

        host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES, on_compile=overtake)
        host.store.shared.deadline = 0.05  # for which a call waits until its sweep has arrived
        first = host.call(kernel)
        assert first.source == "sweep"
        may_arrive.set()
        eventually(lambda: host.better)
        assert uid_of(host.call(kernel)) == done.uid != uid_of(first)
        assert list(store.upkeep.uids()) == [done.uid]
    assert records.text.count("tuned it as well before this sweep arrived") == 1
    again = Host(tmp_path, shared_path, "a").call(FakeKernel(TIMES))
    assert uid_of(again) == done.uid


def test_a_store_that_is_away_when_a_sweep_begins_and_back_when_it_ends_keeps_the_first_one(
    tmp_path: Path, shared_path: str
) -> None:
    done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
    host = Host(tmp_path, shared_path, "a")
    shared = host.store.shared

    def come_back(block: int) -> None:
        with open_store(shared_path) as store:
            store.put_sweep(done)
        for breaker in (shared._reads, shared._writes):
            breaker.reset()

    for breaker in (shared._reads, shared._writes):
        breaker.trip()
    choice = host.call(FakeKernel(TIMES, on_compile=come_back))
    assert uid_of(choice) == done.uid
    with open_store(shared_path) as store:
        assert list(store.upkeep.uids()) == [done.uid]


def test_warm_passes_over_what_is_claimed_elsewhere_and_finds_it_later(tmp_path: Path, shared_path: str) -> None:
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    task = task_of(kernel)
    with open_store(shared_path) as store:
        claim = store.claims.take(key_of(kernel), ANOTHER)
        begun = time.monotonic()
        result = host.tuner.tune_ahead(task, waits=False)
        assert isinstance(result, Skipped)
        assert result.is_claimed
        assert time.monotonic() - begun < 30
        done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 4: 3.0})).sweep
        assert store.publish(done, claim, ANOTHER, is_first=True) == Publication.KEPT
    found = host.tuner.tune_ahead(task, waits=False)
    assert isinstance(found, Answered)
    assert uid_of(found.choice) == done.uid
    assert kernel.tried == []
    assert host.sweeps() == [(done.uid, "tuned")]  # so that this host's commands find it, too


def test_warm_on_a_store_of_its_own_claims_there(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel(TIMES, on_compile=lambda _: states.append(store.claims.get(key_of(kernel)).state))
    states: list[str] = []
    tuner = Tuner(
        settings.read({}), store, locks=tmp_path / "locks", clock=FakeClock, environment_of=lambda _: ENVIRONMENT
    )
    assert isinstance(tuner.tune_ahead(task_of(kernel)), Swept)
    assert set(states) == {"held"}
    assert store.claims.get(key_of(kernel)).state == "released"


def test_a_process_that_was_killed_on_this_host_keeps_nobody_waiting(store: Store, tmp_path: Path) -> None:
    """Its lock file is free, so that its claim is known to be nobody's."""
    kernel = FakeKernel(TIMES, on_compile=lambda _: claims.append(store.claims.get(key_of(kernel))))
    claims: list = []

    def tuner(**given: object) -> Tuner:
        return Tuner(
            settings.read(given), store, locks=tmp_path / "locks", clock=FakeClock, environment_of=lambda _: ENVIRONMENT
        )

    tuner().tune_ahead(task_of(kernel))
    with store._access.write() as connection:
        connection.exec_driver_sql("UPDATE claim SET state = 'held', expires = datetime('now', '+60 seconds')")
    assert isinstance(tuner(lock_timeout=0.0).tune_ahead(task_of(kernel), force=True), Swept)
    assert claims[-1].attempt == 2


def test_a_shared_store_that_may_only_be_read_is_read_and_asked_for_nothing_else(
    tmp_path: Path, shared_path: str, records: pytest.LogCaptureFixture
) -> None:
    first = Host(tmp_path, shared_path, "a").call(FakeKernel({1: 9.0, 4: 3.0}))
    Path(shared_path).chmod(0o400)
    remote = SharedStore(shared_path, lambda: open_store(shared_path, migrate=False, create=False), deadline=60.0)
    reader = Host(tmp_path, None, "b")
    reader.store.shared = remote
    assert uid_of(reader.call(FakeKernel(TIMES))) == uid_of(first)
    for n in (2, 3):
        assert reader.call(FakeKernel(TIMES), n).source == "sweep"
    remote.flush()
    remote.report()
    assert [record.getMessage() for record in records.records if record.levelname == "WARNING"] == []


def test_another_device_or_version_of_the_kernel_is_not_waited_for(tmp_path: Path, shared_path: str) -> None:
    host, kernel = Host(tmp_path, shared_path, "a"), FakeKernel(TIMES)
    with open_store(shared_path) as store:
        store.claims.take(ClaimKey(kernel.problem(n=1), DEVICE, "0" * 64), ANOTHER)
        assert host.call(kernel).source == "sweep"


def test_one_that_was_overtaken_in_a_local_store_of_two_hosts_keeps_its_sweep_as_aborted(
    tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    """As with one PostgreSQL for several hosts in TUNEDB_STORE; also while no details are written."""
    other, host = Host(tmp_path, None, "b"), Host(tmp_path, None, "a", lock_timeout=0.2)
    done = other.call(FakeKernel({1: 9.0, 4: 3.0})).sweep
    host.call(FakeKernel(TIMES), n=99)  # so that the store is open
    kernel = FakeKernel(TIMES)

    def overtake(block: int) -> None:
        if block != 1:  # once, although several threads compile
            return
        with open_store(host.url) as store:
            with store._access.write() as connection:
                connection.exec_driver_sql("UPDATE claim SET owner = 'another', attempt = 7 WHERE state = 'held'")
            assert store.publish(done, store.claims.get(key_of(kernel)), Claimant("another"), is_first=True)
        host.store.local.writer.rest_details()

    kernel.on_compile = overtake
    assert uid_of(host.call(kernel)) == done.uid
    assert sorted(status for _, status in host.sweeps()) == ["aborted", "tuned", "tuned"]
    assert records.text.count("another process tuned it as well meanwhile; its result serves") == 1


def test_one_that_learns_later_from_its_slow_local_store_that_it_was_overtaken_changes_to_the_others_sweep(
    tmp_path: Path, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Host(tmp_path, None, "c").call(FakeKernel({1: 9.0, 2: 8.0, 4: 3.0})).sweep
    host = Host(tmp_path, None, "a")
    host.call(FakeKernel(TIMES), n=99)
    kernel, may_arrive, publish = FakeKernel(TIMES), threading.Event(), Store.publish

    def overtake(block: int) -> None:
        if block == 1:
            with open_store(host.url) as store:
                store.put_sweep(done)
                with store._access.write() as connection:
                    connection.exec_driver_sql("UPDATE claim SET attempt = 7, state = 'released' WHERE state = 'held'")

    kernel.on_compile = overtake
    monkeypatch.setattr(Store, "publish", lambda *given, **more: (may_arrive.wait(60), publish(*given, **more))[1])
    monkeypatch.setattr("tunedb.store.writer.RESULT_S", 0.05)  # for which a call waits
    first = host.call(kernel)
    assert first.source == "sweep"
    may_arrive.set()
    eventually(lambda: host.better)
    assert uid_of(host.call(kernel)) == done.uid != uid_of(first)
    assert sorted(status for _, status in host.sweeps()) == ["aborted", "tuned", "tuned"]
    assert records.text.count("tuned it as well before this sweep arrived") == 1


def test_a_local_claim_is_renewed_and_given_back_while_no_details_are_written(tmp_path: Path) -> None:
    host = Host(tmp_path, None, "a", lease=1.0)
    host.call(FakeKernel(TIMES), n=99)
    kernel = FakeKernel({1: "wrong"})
    ages: list[float] = []

    def wait_for_renewal(block: int) -> None:
        host.store.local.writer.rest_details()
        with open_store(host.url) as store:

            def is_renewed() -> bool:
                ages.append(store.claims.get(key_of(kernel)).age)
                return len(ages) > 1 and ages[-1] < ages[-2]

            eventually(is_renewed)

    kernel.on_compile = wait_for_renewal
    assert host.call(kernel).source == "default"
    with open_store(host.url) as store:
        eventually(lambda: store.claims.get(key_of(kernel)).state == "failed")


def test_a_sweep_is_kept_although_its_claim_went_with_the_file(tmp_path: Path) -> None:
    host = Host(tmp_path, None, "a")
    host.call(FakeKernel(TIMES), n=99)

    def lose(block: int) -> None:
        if block == 1:
            with open_store(host.url) as store, store._access.write() as connection:
                connection.exec_driver_sql("DELETE FROM claim")

    choice = host.call(FakeKernel(TIMES, on_compile=lose))
    assert (choice.source, choice.config["BLOCK"]) == ("sweep", 2)
    assert [status for _, status in host.sweeps()] == ["tuned", "tuned"]
