"""What every store does, on every engine."""

from __future__ import annotations

import dataclasses
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.samples import DEVICE, HASH, NOON, failed, running, sweep, sweeps, trial, without_trials
from tests.threads import errors_at_once
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, new_uid
from tunedb.errors import StoreError, UnknownSweep
from tunedb.store import Store


def test_a_sweep_comes_back_as_it_was_put(store: Store) -> None:
    put = sweep()
    assert store.put_sweep(put)
    assert store.get_sweep(put.uid) == put


def test_a_lookup_finds_the_finished_sweeps_of_that_identity_without_their_trials(store: Store) -> None:
    first, second = sweep(), failed(finished=NOON + timedelta(hours=1))
    store.put_sweeps([second, first])
    store.start_sweep(running(sweep()))
    assert store.get_sweeps(first.problem, DEVICE, HASH) == [without_trials(first), without_trials(second)]
    assert store.get_sweeps(first.problem, DEVICE, HASH)[0].counts == {"compile_error": 1, "ok": 2}


@pytest.mark.parametrize(
    ("problem", "device", "kernel_hash"),
    [
        (sweep(2).problem, DEVICE, HASH),
        (Problem(sweep().problem.key, "avg_pool1d_backward"), DEVICE, HASH),
        (sweep().problem, dataclasses.replace(DEVICE, name="NVIDIA H100"), HASH),
        (sweep().problem, dataclasses.replace(DEVICE, multiprocessors=114), HASH),
        (sweep().problem, DEVICE, "0" * 64),
    ],
)
def test_a_different_hard_identity_is_invisible(
    store: Store, problem: Problem, device: Device, kernel_hash: str
) -> None:
    store.put_sweep(sweep())
    assert store.get_sweeps(problem, device, kernel_hash) == []


def test_memory_and_clocks_of_a_device_are_kept_and_never_compared(store: Store) -> None:
    put = sweep()
    store.put_sweep(put)
    assert len(store.get_sweeps(put.problem, dataclasses.replace(DEVICE, info={}), HASH)) == 1
    assert store.get_sweep(put.uid).device.info == DEVICE.info


def test_a_trial_is_there_as_soon_as_it_was_put(store: Store) -> None:
    begun, measured = running(sweep()), trial()
    store.start_sweep(begun)
    store.put_trial(begun.uid, measured)
    found = store.get_sweep(begun.uid)
    assert (found.status, found.trials) == ("running", (measured,))


def test_a_running_sweep_answers_no_lookup_and_is_listed_on_request_only(store: Store) -> None:
    begun = running(sweep())
    store.start_sweep(begun)
    assert store.get_sweeps(begun.problem, DEVICE, HASH) == []
    assert list(store.iter_sweeps()) == []
    assert list(store.iter_sweeps(finished=False)) == [begun]


def test_finishing_gives_the_outcome_and_adds_the_trials_that_are_missing(store: Store) -> None:
    done = sweep()
    store.start_sweep(running(done))
    store.put_trial(done.uid, done.trials[0])
    store.finish_sweep(done)
    assert store.get_sweep(done.uid) == done


def test_trials_that_only_the_store_knows_are_counted(store: Store) -> None:
    done = sweep()
    store.start_sweep(running(done))
    for one in done.trials:
        store.put_trial(done.uid, one)
    store.finish_sweep(dataclasses.replace(done, trials=(), counts={}))
    assert store.get_sweep(done.uid) == done


def test_a_finished_sweep_is_never_changed(store: Store) -> None:
    done = sweep()
    store.put_sweep(done)
    other = dataclasses.replace(done, time_us=1.0, config=Config.of(BLOCK=64), status="tuned")
    store.finish_sweep(other)
    assert not store.put_sweep(other)
    store.start_sweep(running(done))
    with pytest.raises(StoreError, match="is running in"):
        store.put_trial(done.uid, trial())
    assert store.get_sweep(done.uid) == done


def test_the_late_write_of_a_sweep_that_was_begun_finishes_it(store: Store) -> None:
    done = sweep()
    store.start_sweep(running(done))
    assert store.put_sweep(done)
    assert store.get_sweep(done.uid) == done


def test_the_outcome_of_a_sweep_whose_start_was_lost_is_kept(store: Store) -> None:
    done = sweep()
    store.finish_sweep(done)
    assert store.get_sweep(done.uid) == done


def test_writing_the_same_twice_is_the_same_as_once(store: Store) -> None:
    done = sweep()
    for _ in range(2):
        store.start_sweep(running(done))
        store.put_trial(done.uid, done.trials[0])
    assert store.get_sweep(done.uid).trials == done.trials[:1]


def test_a_trial_of_an_unknown_sweep_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="No sweep"):
        store.put_trial("0" * 32, trial())


def test_putting_many_counts_the_stored_and_the_known(store: Store) -> None:
    one, two = sweep(1), sweep(2)
    store.put_sweep(one)
    assert store.put_sweeps(iter([one, two, two])) == (1, 2)
    assert store.put_sweeps([]) == (0, 0)
    assert len(list(store.iter_sweeps())) == 2


def test_putting_many_stores_all_or_none(store: Store) -> None:
    broken = sweep(2, trials=(trial(time_us=float("nan")),))
    with pytest.raises(ValueError, match="expected a finite time_us that is not negative, got nan"):
        store.put_sweeps([sweep(1), broken])
    assert list(store.iter_sweeps(finished=False)) == []


def test_a_store_can_be_put_into_itself(store: Store) -> None:
    store.put_sweeps([sweep(1), sweep(2)])
    assert store.put_sweeps(store.iter_sweeps(with_trials=True)) == (0, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "running"},
        {"status": "won"},
        {"config": None},
        {"status": "failed"},
        {"finished": None},
        {"finished": NOON.replace(tzinfo=None)},
        {"time_us": float("inf")},
        {"time_us": -1.0},
        {"default_time_us": float("nan")},
        {"uid": "short"},
        {"kernel_hash": ""},
        {"kernel_hash": "0" * 65},
        {"host": "a\0b"},
        {"host": "\ud800"},
        {"origin": "stolen"},
        {"complete": 1},
        {"trials": (trial(status="fine"),)},
        {"trials": (trial(samples=-1),)},
        {"trials": (trial(samples=None),)},
        {"trials": (trial(registers=2**31),)},
        {"trials": (trial(time_us=True),)},
        {"trials": (trial(uid="0" * 32), trial(uid="0" * 32))},
    ],
)
def test_what_can_not_be_kept_is_refused_before_anything_is_written(store: Store, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        store.put_sweep(sweep(**changes))
    assert list(store.iter_sweeps(finished=False)) == []


def test_only_a_running_sweep_is_started(store: Store) -> None:
    with pytest.raises(ValueError, match="expected a running sweep"):
        store.start_sweep(sweep())


def test_an_error_s_text_never_keeps_a_trial_from_being_stored(store: Store) -> None:
    put = sweep(trials=(trial(status="compile_error", error="x" * 10_000), trial(64, "wrong", error="a\0b\ud800c")))
    store.put_sweep(put)
    errors = {one.status: one.error for one in store.get_sweep(put.uid).trials}
    assert errors == {"compile_error": "x" * 4000, "wrong": "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"}


def test_a_sweep_is_found_by_the_beginning_of_its_uid_if_it_is_the_only_one(store: Store) -> None:
    store.put_sweeps([sweep(1, uid="ab" * 16), sweep(2, uid="ac" * 16)])
    assert store.get_sweep("ab").uid == "ab" * 16
    assert store.get_sweep("ac" * 16).uid == "ac" * 16
    for unclear, message in (
        ("a", "More than one"),
        ("b", "No sweep"),
        ("%", "Expected"),
        ("", "Expected"),
        ("AB", "Expected"),
    ):
        with pytest.raises(UnknownSweep, match=message):
            store.get_sweep(unclear)


def test_the_listing_has_one_order_whatever_came_first(store: Store) -> None:
    later, unfinished = NOON + timedelta(days=1), running(sweep(3))
    expected = [
        sweep(1, problem=Problem.of("Zoo", n=1)),  # bytewise: capitals first, on every engine
        sweep(1, device=dataclasses.replace(DEVICE, name="AMD"), finished=later),
        sweep(1, uid="0" * 32),
        sweep(1, uid="1" * 32),
        sweep(1, uid="2" * 32, finished=later),
        sweep(2),
        unfinished,
    ]
    for one in reversed(expected):
        store.start_sweep(one) if one is unfinished else store.put_sweep(one)
    assert [one.uid for one in store.iter_sweeps(finished=False)] == [one.uid for one in expected]
    assert [one.uid for one in store.iter_sweeps()] == [one.uid for one in expected[:-1]]


def test_the_listing_can_be_narrowed_and_can_have_trials(store: Store) -> None:
    one, two = sweep(1), sweep(2, problem=Problem.of("other"), device=dataclasses.replace(DEVICE, name="L4"))
    store.put_sweeps([one, two])
    assert list(store.iter_sweeps()) == [without_trials(one), without_trials(two)]
    assert list(store.iter_sweeps(with_trials=True)) == [one, two]
    assert list(store.iter_sweeps(kernel="other", with_trials=True)) == [two]
    assert list(store.iter_sweeps(device_name=DEVICE.name, with_trials=True)) == [one]
    assert list(store.iter_sweeps(kernel="other", device_name=DEVICE.name)) == []


def test_a_store_says_what_it_has_sweeps_of(store: Store) -> None:
    away = dataclasses.replace(DEVICE, name="NVIDIA H999")
    add, bad = Problem.of("mine.add", n=1), Problem.of("bad", n=1)
    store.put_sweeps([sweep(1), sweep(problem=add, device=away), failed(problem=bad)])
    assert set(store.upkeep.devices()) == {DEVICE, away}
    assert store.upkeep.devices("mine.add") == [away]
    assert store.upkeep.devices("absent") == []
    assert store.upkeep.kernels() == ["avg_pool1d", "mine.add"]
    assert store.upkeep.tried_configs("mine.add") == [Config.of(BLOCK=block, num_warps=4) for block in (128, 256, 512)]
    assert store.upkeep.tried_configs("absent") == []
    winner_only = sweep(problem=Problem.of("mine.mul", n=1), config=Config.of(BLOCK=64), trials=())
    store.put_sweep(winner_only)
    assert store.upkeep.tried_configs("mine.mul") == [Config.of(BLOCK=64)]
    assert store.upkeep.problems("mine.add") == [add]
    assert store.upkeep.problems("bad") == [bad]
    assert store.upkeep.problems("absent") == []


def test_the_listing_goes_on_while_its_reader_writes(store: Store, small_pages: int) -> None:
    many = [sweep(n, trials=(trial(),)) for n in range(2 * small_pages + 5)]
    store.put_sweeps(many)
    seen = []
    for one in store.iter_sweeps(with_trials=True):
        seen.append(one.uid)
        if len(seen) % (small_pages - 5) == 0:
            store.put_sweep(sweep(len(seen), trials=()))
    assert sorted(seen) == sorted(one.uid for one in many)


def test_times_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    put = sweep(started=NOON.astimezone(timezone(timedelta(hours=-7))))
    store.put_sweep(put)
    found = store.get_sweep(put.uid)
    assert found.started.isoformat() == "2026-08-22T12:00:00.123456+00:00"


def test_threads_share_a_store(store: Store) -> None:
    def work(number: int) -> None:
        for n in range(10 * number, 10 * number + 5):
            done = sweep(n % 3)
            store.start_sweep(running(done))
            for one in done.trials:
                store.put_trial(done.uid, one)
            store.finish_sweep(done)
            assert done.uid in {found.uid for found in store.get_sweeps(done.problem, DEVICE, HASH)}

    assert errors_at_once(4, work) == []
    assert [len(one.trials) for one in store.iter_sweeps(with_trials=True)] == [3] * 20


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(put=sweeps())
def test_any_sweep_comes_back_as_it_was_put(store: Store, put: Sweep) -> None:
    put = dataclasses.replace(put, uid=new_uid())  # the store lives on from one example to the next
    assert store.put_sweep(put)
    assert store.get_sweep(put.uid) == put


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_union_is_idempotent_and_independent_of_order(store: Store, data: st.DataObject) -> None:
    many = data.draw(st.lists(sweeps(), max_size=4, unique_by=lambda one: one.uid))
    before = {one.uid for one in store.iter_sweeps()}
    for part in (many[:2], many[1:], many):
        store.put_sweeps(data.draw(st.permutations(part)))
    assert {one.uid for one in store.iter_sweeps()} == before | {one.uid for one in many}
