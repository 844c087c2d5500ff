"""Very many sweeps of a problem, or marks of a sweep, as an import may bring: a look-up reads the part that counts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, sweep, trial
from tunedb.core.sweep import Mark, MarkKind
from tunedb.store import Store, winner
from tunedb.store.sql import statements
from tunedb.store.sql.statements import MAX_SWEEPS

HOUR = timedelta(hours=1)


def test_a_flood_of_imported_sweeps_hides_neither_this_store_s_own_nor_a_pinned_one(store: Store) -> None:
    own, pinned = sweep(), sweep(origin="imported", finished=NOON - HOUR)
    flood = [
        sweep(origin="imported", trials=(trial(),), finished=NOON + n * HOUR, environment=ENVIRONMENT)
        for n in range(MAX_SWEEPS + 10)
    ]
    store.put_sweeps([own, pinned, *flood])
    store.marks.put(pinned.uid, Mark(MarkKind.PIN, "the right one", NOON))
    found = store.get_sweeps(own.problem, DEVICE, HASH)
    assert len(found) == MAX_SWEEPS
    assert [each.uid for each in found[:2]] == [pinned.uid, own.uid]
    best = winner(found, ENVIRONMENT)
    assert best is not None
    assert best[0].uid == pinned.uid


def test_a_flood_of_marks_hides_no_mark_that_says_something(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MAX_MARKS", 50)
    flooded, wrong = sweep(), sweep(finished=NOON + HOUR)
    store.put_sweeps([flooded, wrong])
    store.marks.put(wrong.uid, Mark(MarkKind.QUARANTINE, "wrong", NOON - HOUR))
    store.marks.put_all((flooded.uid, Mark(MarkKind.PIN, "again", NOON + n * HOUR)) for n in range(60))
    unpinned = Mark(MarkKind.UNPIN, "no more", NOON + 59.5 * HOUR)
    store.marks.put(flooded.uid, unpinned)
    first, second = store.get_sweeps(flooded.problem, DEVICE, HASH)
    assert len(first.marks) == statements.NEWEST + 1
    assert (first.marks[-1], first.is_pinned, second.is_quarantined) == (unpinned, False, True)
    assert len(store.marks.get_all()) == 62
