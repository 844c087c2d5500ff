"""One row hides nothing: every reader of a store passes over what it can't read, and gives the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.odd_rows import TABLES, plant
from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, sweep
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, Confirmation, Mark, MarkKind, Source, Sweep, UsageCount
from tunedb.store import Store, dump, garbage, load, open_store, receive, upgrade, winner
from tunedb.store.exchange.python_source import python_source

OTHER = Device("NVIDIA L4", "cuda", "sm_89", 58)


def base() -> Sweep:
    """The sweep whose rows are copied: each of them is the first of its table."""
    return sweep(1, marks=(Mark(MarkKind.UNPIN, "as it was", NOON),))


def sound() -> list[Sweep]:
    """Sweeps that share no row with the base, but one its problem and one its device."""
    return [sweep(2, device=OTHER), sweep(1, device=OTHER), sweep(3, device=DEVICE)]


def usage(n: int) -> UsageCount:
    return UsageCount(Problem.of("k", n=n), DEVICE, Source.DEFAULT, 3, NOON, NOON)


@pytest.fixture
def good(stored_url: str) -> list[Sweep]:
    """The sound sweeps of the store at `stored_url`; the base is there too."""
    upgrade(stored_url)
    sweeps = sound()
    with open_store(stored_url) as store:
        store.add_usage([UsageCount(base().problem, DEVICE, Source.DEFAULT, 2, NOON, NOON + timedelta(days=90))])
        first = base()
        store.put_sweeps([first, *sweeps])
        store.confirmations.put_all([(first.uid, Confirmation(ENVIRONMENT, 12.0, 20.0, NOON))])
        store.add_usage([UsageCount(base().problem, DEVICE, Source.DEFAULT, 2, NOON, NOON + timedelta(days=90))])
        store.add_usage([usage(7)])
    return sweeps


def read_all(store: Store, good: list[Sweep], tmp_path: Path) -> None:
    """Each reader of the store gives the sound rows."""
    uids = {one.uid for one in good}
    for one in good:
        (found,) = store.get_sweeps(one.problem, one.device, HASH)[-1:]
        assert uids & {each.uid for each in store.get_sweeps(one.problem, one.device, HASH)}, found
        best = winner(store.get_sweeps(one.problem, one.device, HASH), ENVIRONMENT, now=NOON + timedelta(hours=1))
        assert best is not None
        assert best[0].uid == one.uid
        assert store.get_sweep(one.uid) == one
        assert one.uid in {each.uid for each in store.get_problem_sweeps(one.problem)}
        assert one.uid in {each.uid for each in store.get_kernel_sweeps("avg_pool1d", one.device, HASH)}
        store.get_unfinished(one.problem, one.device, HASH, ENVIRONMENT)
        assert store.get_wrong_configs(one.problem, one.device, HASH, ENVIRONMENT) == frozenset()
    assert uids <= {one.uid for one in store.iter_sweeps(finished=False, with_trials=True)}
    assert uids <= set(store.upkeep.uids())
    assert {DEVICE, OTHER} <= set(store.upkeep.devices())
    assert store.upkeep.totals().sweeps["tuned"] >= len(good)
    assert usage(7).problem in {count.problem for count in store.usage.get(MISSES)}
    assert store.usage.by_source()["default"] >= 3
    assert "as it was" in {mark.reason for _, mark in store.marks.get_all()}
    assert all(garbage(one, {}, NOON + timedelta(days=900)) != "dead" for one in store.iter_sweeps(finished=False))
    with open_store("sqlite://") as other:
        receive(other, store)
        assert uids <= set(other.upkeep.uids())
        receive(store, other)
    file = tmp_path / "export.jsonl"
    dump(store.iter_sweeps(with_trials=True), file)
    assert uids <= {one.uid for one in load(file).sweeps}
    text, _ = python_source([one for one in store.iter_sweeps() if one.device == OTHER])
    assert text.count("triton.Config(") >= 2


def test_every_reader_gives_the_rest(
    stored_url: str, good: list[Sweep], tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    for table in TABLES:
        assert plant(stored_url, table) > 5
    with open_store(stored_url) as store:
        read_all(store, good, tmp_path)
        told = [record.getMessage() for record in records.records if "can't be read" in record.getMessage()]
        assert len(told) == 1
        assert "It is skipped, and so are others like it." in told[0]
        new = sweep(4, device=OTHER)
        assert store.put_sweep(new)  # and the store takes more
        store.add_usage([usage(8)])
        read_all(store, [new], tmp_path)
