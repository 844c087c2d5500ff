"""Confirmations: facts of their own, which make a sweep valid in one more environment, on each engine."""

from __future__ import annotations

import dataclasses

import pytest

from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, sweep
from tunedb.core.sweep import Confirmation
from tunedb.store import Store, ranked

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.9.0")


def test_a_confirmation_makes_a_sweep_valid_where_it_holds(store: Store) -> None:
    one, other = sweep(1), sweep(1, environment=NEWER, complete=False)
    store.put_sweeps([one, other])
    assert next(found.uid for found, _ in ranked(store.get_sweeps(one.problem, DEVICE, HASH), NEWER)) == other.uid
    confirmation = Confirmation(NEWER, 12.0, 20.0, NOON)
    assert store.confirmations.put_all([(one.uid, confirmation)]) == 1
    assert store.confirmations.put_all([(one.uid, confirmation)]) == 0
    for found in (
        store.get_sweeps(one.problem, DEVICE, HASH),
        store.get_kernel_sweeps("avg_pool1d", DEVICE, HASH),
        list(store.iter_sweeps()),
        store.get_problem_sweeps(one.problem),
    ):
        best = [(each.uid, source) for each, source in ranked(found, NEWER)]
        assert best == [(one.uid, "store"), (other.uid, "store")]
        assert next(each for each in found if each.uid == one.uid).confirmations == (confirmation,)
    assert [source for _, source in ranked([store.get_sweep(one.uid)], ENVIRONMENT)] == ["store"]
    assert store.get_confirmations_of([one.uid, other.uid]) == {one.uid: [confirmation]}


def test_a_confirmation_may_arrive_before_its_sweep(store: Store) -> None:
    one = sweep(1)
    store.confirmations.put_all([(one.uid, Confirmation(NEWER))])
    store.put_sweep(one)
    (found,) = store.get_sweeps(one.problem, DEVICE, HASH)
    assert found.is_valid_in(NEWER)
    assert found == dataclasses.replace(one, trials=())


@pytest.mark.parametrize(
    "changes", [{"time_us": -1.0}, {"uid": "x"}, {"time": NOON.replace(tzinfo=None)}, {"default_time_us": float("nan")}]
)
def test_what_no_database_gives_back_is_refused(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        store.confirmations.put_all([(sweep(1).uid, dataclasses.replace(Confirmation(NEWER), **changes))])  # type: ignore[arg-type]
