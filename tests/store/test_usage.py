"""The counts of what calls were served with: they add up, stay bounded, and a tuned problem is no miss."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store.samples import DEVICE, NOON, failed, sweep
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.sweep import COUNTED_SOURCES, MISSES, UsageCount
from tunedb.store import Store
from tunedb.store.sql import statements


def count(n: int = 1, source: str = "default", times: int = 1, hour: int = 0, device: Device = DEVICE) -> UsageCount:
    """That many calls of a problem, an hour after noon."""
    moment = NOON + timedelta(hours=hour)
    return UsageCount(sweep(n).problem, device, source, times, moment, moment)


def test_counts_add_up_by_problem_device_and_source(store: Store) -> None:
    store.add_usage([count(1, times=2), count(2, times=9)])
    store.add_usage(
        [count(1, times=3, hour=1), count(1, "nearest", hour=2), count(1, "store"), count(device=INTERPRETER)]
    )
    found = store.usage.get(MISSES)
    assert [(one.problem, one.device, one.source, one.count) for one in found] == [
        (sweep(2).problem, DEVICE, "default", 9),
        (sweep(1).problem, DEVICE, "default", 5),
        (sweep(1).problem, DEVICE, "nearest", 1),
        (sweep(1).problem, INTERPRETER, "default", 1),
    ]
    assert (found[1].first_seen, found[1].last_seen) == (NOON, NOON + timedelta(hours=1))
    assert store.usage.by_source() == {"default": 15, "nearest": 1, "store": 1}


def test_every_source_can_be_counted(store: Store) -> None:
    store.add_usage([count(1, source) for source in COUNTED_SOURCES])
    assert store.usage.by_source() == dict.fromkeys(sorted(COUNTED_SOURCES), 1)


def test_a_tuned_problem_is_no_open_miss_but_stays_countable(store: Store) -> None:
    both = [count(1, times=3), count(1, "nearest"), count(1, "store"), count(2), count(1, device=INTERPRETER)]
    store.add_usage(both)
    store.put_sweep(failed(1))
    assert len(store.usage.get(COUNTED_SOURCES)) == 5
    store.put_sweep(sweep(1))
    left = [(one.problem, one.device, one.source) for one in store.usage.get(COUNTED_SOURCES)]
    assert sorted(left, key=str) == sorted(
        [
            (sweep(1).problem, DEVICE, "store"),
            (sweep(2).problem, DEVICE, "default"),
            (sweep(1).problem, INTERPRETER, "default"),
        ],
        key=str,
    )
    settled = [one for one in store.usage.served(MISSES) if not one.is_open]
    assert [(one.usage.problem, one.usage.source, one.usage.count) for one in settled] == [
        (sweep(1).problem, "default", 3),
        (sweep(1).problem, "nearest", 1),
    ]
    assert all(one.tuned is not None and one.tuned >= one.usage.last_seen for one in settled)
    assert store.usage.by_source() == {"default": 5, "nearest": 1, "store": 1}


@pytest.mark.parametrize("spread", [0, 1])
def test_the_table_keeps_the_rows_that_were_seen_last(
    store: Store, monkeypatch: pytest.MonkeyPatch, spread: int
) -> None:
    monkeypatch.setattr(statements, "MAX_ROWS", 3)
    store.add_usage([count(n, hour=n * spread) for n in range(7)])
    assert len(store.usage.get(MISSES)) == 3
    store.add_usage([count(9, hour=9)])
    found = store.usage.get(MISSES)
    assert len(found) == 3
    assert sweep(9).problem in [one.problem for one in found]
    if spread:
        assert {one.problem for one in found} == {sweep(n).problem for n in (5, 6, 9)}


def at(store: Store, hour: int) -> Store:
    """The same store, opened by a process whose clock stands at so many hours after noon."""
    return Store(store._access.database, now=lambda: NOON + timedelta(hours=hour))


def test_a_miss_that_is_told_of_after_its_problem_was_tuned_is_none(store: Store) -> None:
    at(store, 2).put_sweep(sweep(1, finished=NOON + timedelta(hours=2)))
    store.add_usage([count(1, hour=1)])  # by a process that kept it in memory until now
    assert store.usage.get(MISSES) == []
    store.add_usage([count(1, hour=3)])  # what is stored does not launch there
    assert [one.count for one in store.usage.get(MISSES)] == [2]


def test_an_older_sweep_that_arrives_after_a_miss_answers_it(store: Store) -> None:
    store.add_usage([count(1, hour=5)])
    at(store, 4).put_sweep(sweep(1, finished=NOON))
    assert [one.count for one in store.usage.get(MISSES)] == [1]
    at(store, 6).put_sweep(sweep(1, finished=NOON + timedelta(hours=1), origin="imported"))
    assert store.usage.get(MISSES) == []


def test_a_sweep_from_the_future_answers_no_miss_before_its_time(store: Store) -> None:
    store.add_usage([count(1, hour=5)])
    at(store, 9).put_sweep(sweep(1))
    assert [one.count for one in at(store, 8).usage.get(MISSES)] == [1]
    assert at(store, 9).usage.get(MISSES) == []


def test_hits_make_room_for_misses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MAX_ROWS", 3)
    store.add_usage([count(1), *(count(n, "store", hour=n) for n in range(2, 8))])
    assert [one.problem for one in store.usage.get(MISSES)] == [sweep(1).problem]
