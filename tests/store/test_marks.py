"""Marks: kept beside a sweep for good, on every engine; the last of each pair holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, sweep
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.store import Store, winner


def wins(store: Store, like: Sweep) -> str | None:
    """The uid of what answers."""
    found = winner(store.get_sweeps(like.problem, DEVICE, HASH), ENVIRONMENT)
    return found and found[0].uid


def test_a_mark_comes_back_as_it_was_with_the_sweep(store: Store) -> None:
    one = sweep()
    store.put_sweep(one)
    marks = tuple(Mark(kind, f"because {kind}", NOON + timedelta(hours=n)) for n, kind in enumerate(MarkKind))
    for mark in marks:
        assert store.marks.put(one.uid, mark)
        assert not store.marks.put(one.uid, mark)  # known
    assert store.get_sweep(one.uid).marks == marks
    assert store.marks.get_all() == [(one.uid, mark) for mark in marks]
    assert [list(found.marks) for found in store.get_sweeps(one.problem, DEVICE, HASH)] == [list(marks)]


def test_quarantining_the_winner_revives_the_one_before(store: Store) -> None:
    old, new = sweep(), sweep(finished=NOON + timedelta(days=1))
    store.put_sweeps([old, new])
    assert wins(store, old) == new.uid
    store.marks.put(new.uid, Mark("quarantine", "wrong", NOON))
    assert wins(store, old) == old.uid
    store.marks.put(new.uid, Mark("release", "right", NOON + timedelta(hours=1)))
    assert wins(store, old) == new.uid
    store.marks.put(new.uid, Mark("quarantine", "an older word", NOON - timedelta(hours=1)))
    assert wins(store, old) == new.uid


def test_a_pin_wins_against_newer_ones_but_not_against_its_own_quarantine(store: Store) -> None:
    old, new = sweep(), sweep(finished=NOON + timedelta(days=1))
    store.put_sweeps([old, new])
    store.marks.put(old.uid, Mark("pin", "good"))
    assert wins(store, old) == old.uid
    store.marks.put(old.uid, Mark("quarantine", "bad"))
    assert wins(store, old) == new.uid


def test_a_mark_may_come_before_its_sweep(store: Store) -> None:
    one = sweep()
    store.marks.put(one.uid, Mark("quarantine", "known to be wrong"))
    store.put_sweep(one)
    assert wins(store, one) is None


@pytest.mark.parametrize(
    ("uid", "mark"),
    [
        ("a" * 32, Mark("praise", "x")),
        ("a" * 32, Mark("pin", "x\0")),
        ("a" * 32, Mark("pin", "\ud800")),
        ("a" * 32, Mark("pin", "x" * 4001)),
        ("a" * 32, Mark("pin", "x", NOON.replace(tzinfo=None))),
        ("a" * 32, Mark("pin", "x", NOON, "short")),
        ("../x", Mark("pin", "x")),
    ],
)
def test_a_mark_that_can_not_be_kept_is_refused(store: Store, uid: str, mark: Mark) -> None:
    with pytest.raises(ValueError, match="expected"):
        store.marks.put(uid, mark)
    assert store.marks.get_all() == []
