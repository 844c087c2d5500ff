"""Counts of many hosts in one shared store: sums that arrive in any order and any number of times, and gone hosts."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command

from tests.store.conftest import opened
from tests.store.samples import DEVICE, NOON, sweep
from tunedb.core.sweep import COUNTED_SOURCES, MISSES, Source, UsageCount
from tunedb.errors import StoreUnavailable
from tunedb.store import Store, open_store, upgrade
from tunedb.store.exchange.sync import send_counts
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.retention import HOST_GONE
from tunedb.store.shared import SharedStore
from tunedb.store.sql import schema, statements
from tunedb.store.sql.engine import locate
from tunedb.store.sql.hosts import GONE

LONG_AFTER = NOON + HOST_GONE + timedelta(days=9)


@pytest.fixture
def shared(stored_url: str) -> Iterator[Store]:
    """An empty shared store, on each engine."""
    yield from opened(stored_url)


def count(host: str, n: int = 1, times: int = 1, day: int = 0, source: Source = Source.DEFAULT) -> UsageCount:
    """So many calls of the n-th problem that a host saw so many days after the first."""
    moment = NOON + timedelta(days=day)
    return UsageCount(sweep(n).problem, DEVICE, source, times, moment, moment, host)


def local(folder: Path, *counts: UsageCount) -> Store:
    """The local store of a host, in a folder of its own."""
    folder.mkdir(exist_ok=True)
    store = open_store(str(folder / "store.db"))
    store.add_usage(counts)
    return store


def by_host(store: Store) -> dict[tuple[str, ...], int]:
    """What is counted, by host, problem and day."""
    return {
        (one.usage.host, str(one.usage.problem["n"]), one.day): one.usage.count
        for one in sorted(store.usage.sums(), key=lambda one: (one.usage.host, one.day))
    }


def send(source: Store, into: Store) -> int:
    """Send counts on the day on which they were made: no host is gone."""
    return send_counts(source, into, NOON + timedelta(days=1))


ORDERS: list[Sequence[int]] = [*itertools.permutations(range(3)), (0, 0, 1, 2, 1, 0, 2)]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_any_order_and_any_repeats_give_the_same_sums(shared: Store, tmp_path: Path, order: Sequence[int]) -> None:
    stores = [
        local(tmp_path / "a", count("node1", 1, 3), count("node1", 2, 4, day=1)),
        local(tmp_path / "b", count("node2", 1, 5)),
        local(tmp_path / "c", count("node1", 1, 7)),  # another store of the first host, such as another user's
    ]
    for number in order:
        send(stores[number], shared)
    assert {one.usage.count for one in shared.usage.sums()} == {3, 4, 5, 7}
    assert [(one.usage.problem, one.usage.count, one.hosts) for one in shared.usage.served(MISSES)] == [
        (sweep(1).problem, 15, 2),
        (sweep(2).problem, 4, 1),
    ]
    assert shared.usage.totals(["host"]) == {("node1",): {"default": 14}, ("node2",): {"default": 5}}
    assert sum(send(store, shared) for store in stores) == 0


def test_a_host_counts_on_and_its_greater_sum_holds(shared: Store, tmp_path: Path) -> None:
    store = local(tmp_path / "a", count("node1", 1, 3))
    before = list(store.usage.sums())
    assert send(store, shared) == 1
    store.add_usage([count("node1", 1, 2), count("node1", 1, 1, source=Source.STORE)])
    assert send(store, shared) == 2
    assert shared.usage.by_source() == {"default": 5, "store": 1}
    assert shared.usage.hosts.take(before) == 0  # an older state that was on its way for longer
    assert shared.usage.by_source() == {"default": 5, "store": 1}


def test_counts_go_through_a_store_between_and_no_host_s_own_are_changed(shared: Store, tmp_path: Path) -> None:
    pod, site = local(tmp_path / "pod", count("pod1", 1, 3)), local(tmp_path / "site", count("head", 1, 2))
    send(pod, site)
    send(site, shared)
    send(pod, shared)
    send(shared, site)
    assert by_host(shared) == by_host(site) == {("head", "1", "2026-08-22"): 2, ("pod1", "1", "2026-08-22"): 3}
    send(site, pod)
    send(site, site)
    assert pod.usage.totals(["host"]) == {("pod1",): {"default": 3}, ("head",): {"default": 2}}
    pod.add_usage([count("pod1", 1, 1)])
    assert by_host(pod)["pod1", "1", "2026-08-22"] == 4


def test_a_store_that_many_hosts_count_in_keeps_them_apart(shared: Store) -> None:
    shared.add_usage([count("node1", 1, 3), count("node2", 1, 4), count("node1", 1, 5, day=1)])
    assert by_host(shared) == {
        ("node1", "1", "2026-08-22"): 3,
        ("node1", "1", "2026-08-23"): 5,
        ("node2", "1", "2026-08-22"): 4,
    }
    assert shared.usage.totals(["kernel", "device", "day"]) == {
        ("avg_pool1d", DEVICE.name, "2026-08-22"): {"default": 7},
        ("avg_pool1d", DEVICE.name, "2026-08-23"): {"default": 5},
    }


def test_one_host_s_many_counts_take_no_room_from_another_s(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MAX_ROWS", 2)
    shared.add_usage([count("node1", n, day=n) for n in range(3)])
    shared.add_usage([count("node2", n, day=n) for n in range(3)])
    assert [(host, n) for host, n, _ in by_host(shared)] == [
        ("node1", "1"),
        ("node1", "2"),
        ("node2", "1"),
        ("node2", "2"),
    ]


def test_hosts_that_are_gone_are_one_sum_once(shared: Store, tmp_path: Path) -> None:
    pods = [local(tmp_path / f"pod{n}", count(f"pod{n}", 1, n), count(f"pod{n}", 2, 1, day=1)) for n in (1, 2, 3)]
    for pod in pods:
        send(pod, shared)
    shared.add_usage([count("node1", 1, 5, day=60)])
    hosts = shared.usage.hosts
    assert hosts.gone(LONG_AFTER - HOST_GONE, "node1") == ["pod1", "pod2", "pod3"]
    assert hosts.merge_gone(LONG_AFTER - HOST_GONE, "node1") == 3
    merged = {
        (GONE, "1", "2026-08-22"): 6,
        (GONE, "2", "2026-08-23"): 3,
        ("node1", "1", "2026-10-21"): 5,
    }
    assert by_host(shared) == merged
    assert hosts.merge_gone(LONG_AFTER - HOST_GONE, "node1") == 0
    for pod in pods:  # one that only slept, or its counts by way of another store
        assert send(pod, shared) == 0
    assert by_host(shared) == merged
    assert shared.usage.by_source() == {"default": 14}


def test_a_gone_host_that_comes_back_counts_on(shared: Store, tmp_path: Path) -> None:
    store = local(tmp_path / "a", count("node1", 1, 3))
    send(store, shared)
    shared.usage.hosts.merge_gone(LONG_AFTER, "here")
    store.add_usage([count("node1", 1, 2, day=50)])
    assert send(store, shared) == 1
    assert by_host(shared) == {(GONE, "1", "2026-08-22"): 3, ("node1", "1", "2026-10-11"): 2}
    shared.usage.hosts.merge_gone(LONG_AFTER + timedelta(days=99), "here")
    send(store, shared)
    assert by_host(shared) == {(GONE, "1", "2026-08-22"): 3, (GONE, "1", "2026-10-11"): 2}


def test_this_host_is_never_gone_in_its_own_store_and_a_merged_sum_stays_where_it_is(
    shared: Store, tmp_path: Path
) -> None:
    store = local(tmp_path / "a", count("node1", 1, 3), count("pod1", 1, 4))
    assert store.usage.hosts.merge_gone(LONG_AFTER, "node1") == 1
    assert by_host(store) == {(GONE, "1", "2026-08-22"): 4, ("node1", "1", "2026-08-22"): 3}
    send(store, shared)
    assert by_host(shared) == {("node1", "1", "2026-08-22"): 3}


def test_a_sync_merges_what_is_gone_in_the_shared_store(shared: Store, tmp_path: Path) -> None:
    send(local(tmp_path / "pod", count("pod1", 1, 4)), shared)
    send_counts(local(tmp_path / "a", count("node1", 1, 3, day=38)), shared, LONG_AFTER)
    assert [host for host, *_ in by_host(shared)] == [GONE, "node1"]


def test_more_than_a_page_is_sent(shared: Store, tmp_path: Path) -> None:
    store = local(tmp_path / "a", *(count("node1", n) for n in range(2 * statements.PAGE + 5)))
    assert send(store, shared) == 2 * statements.PAGE + 5
    assert len(shared.usage.get(MISSES)) == 2 * statements.PAGE + 5


def test_many_hosts_send_at_once(shared: Store, tmp_path: Path) -> None:
    stores = [local(tmp_path / f"{n}", *(count(f"node{n}", k, n + 1) for k in range(20))) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda store: send(store, shared), stores * 2))
    assert shared.usage.totals(["host"]) == {(f"node{n}",): {"default": 20 * (n + 1)} for n in range(6)}


@pytest.mark.parametrize("change", ["uid = 'x'", "name = 'a\nb'"])
def test_what_can_t_be_read_of_a_host_is_left_out(shared: Store, tmp_path: Path, change: str) -> None:
    store = local(tmp_path / "a", count("node1", 1), count("node2", 1))
    with store._access.write() as connection:
        connection.exec_driver_sql(f"UPDATE host SET {change} WHERE name = 'node1'")
    assert send(store, shared) == 1
    assert [host for host, *_ in by_host(shared)] == ["node2"]


def layers(store: Store, shared: Store) -> LayeredStore:
    return LayeredStore(
        GuardedStore("local", lambda: store), SharedStore("shared", lambda: open_store(shared.url), deadline=5)
    )


def test_a_process_s_counts_reach_the_shared_store_in_the_background_as_sums(shared: Store, tmp_path: Path) -> None:
    store = local(tmp_path / "a", count("node1", 1, 3), count("node1", 3, 9, day=-1))
    layered = layers(store, shared)
    assert layered.shared is not None
    for _ in range(2):
        layered.add_usage([count("node1", 1, 2), count("node1", 2, 1, source=Source.STORE)])
    layered.shared.close(wait=60)
    assert by_host(shared) == {("node1", "1", "2026-08-22"): 7, ("node1", "2", "2026-08-22"): 2}  # what changed
    send(store, shared)
    assert shared.usage.by_source() == {"default": 16, "store": 2}
    assert sum(one.count for one in store.usage.get(COUNTED_SOURCES)) == 18


def test_a_shared_store_that_takes_no_counts_takes_sweeps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, theirs = local(tmp_path / "a"), open_store(str(tmp_path / "shared.db"))
    with theirs._access.write() as connection:
        connection.exec_driver_sql("ALTER TABLE host RENAME COLUMN own TO owned")  # as if it might not be written
    layered = layers(store, theirs)
    assert layered.shared is not None
    with caplog.at_level(logging.INFO, logger="tunedb"):
        for _ in range(2):  # the second time it is left alone
            layered.add_usage([count("node1", 1, 1)])
            layered.shared.close(wait=60)
    layered.finish_sweep(done := sweep(1))
    layered.shared.close(wait=60)
    assert set(theirs.upkeep.uids()) == {done.uid}
    assert len([record for record in caplog.records if "Counts were not sent" in record.getMessage()]) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert store.usage.by_source() == {"default": 2}


def test_a_shared_store_that_hangs_keeps_no_one_who_counts_waiting(tmp_path: Path) -> None:
    store, opening = local(tmp_path / "a"), threading.Event()

    def hang() -> Store:
        opening.wait()
        raise StoreUnavailable("It was away.")

    layered = LayeredStore(GuardedStore("local", lambda: store), SharedStore("shared", hang))
    try:
        for _ in range(3):
            layered.add_usage([count("node1", 1, 2)])  # returns while the shared store still hangs
    finally:
        opening.set()
    assert store.usage.by_source() == {"default": 6}
    assert layered.shared is not None
    layered.shared.close(wait=60)


def test_counts_of_before_hosts_were_kept_apart_are_one_host_s_and_stay(stored_url: str, tmp_path: Path) -> None:
    upgrade(stored_url)
    with open_store(stored_url) as store:
        store.put_sweep(sweep(2))
        store.add_usage([count("node1", 1, 3), count("node2", 1, 4, day=1), count("node2", 1, 5, source=Source.STORE)])
    with schema.transaction(locate(stored_url)) as connection:
        command.downgrade(schema.alembic_config(connection), "0004")
        before = connection.exec_driver_sql("SELECT served_by, count FROM miss ORDER BY count").all()
    assert [tuple(row) for row in before] == [("store", 5), ("default", 7)]
    assert upgrade(stored_url) == "0004"
    with open_store(stored_url) as store, local(tmp_path / "fleet") as fleet:
        assert store.usage.totals(["host", "day"]) == {
            ("", "2026-08-22"): {"store": 5},
            ("", "2026-08-23"): {"default": 7},
        }
        assert [send(store, fleet), send(store, fleet)] == [2, 0]
        store.add_usage([count("node1", 1, 1)])
        assert fleet.usage.by_source() == {"default": 7, "store": 5}
        assert store.usage.by_source() == {"default": 8, "store": 5}
