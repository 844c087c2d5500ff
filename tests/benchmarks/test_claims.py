"""The benchmark of claims: it counts what it claims to count, on a small number of claims."""

from __future__ import annotations

from pathlib import Path

from benchmarks import claims
from tunedb.core.claim import Claimant
from tunedb.store import open_store


def test_every_claim_is_counted_and_none_is_held_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    open_store(path).close()
    figures = claims.measure(path, claimants=4, count=38, processes=2)
    assert (figures["taken"], figures["attempts_stored"]) == (40, 40)
    assert (figures["double"], figures["lost"], figures["left_held"]) == (0, 0, 0)


def test_one_that_is_held_by_another_is_refused_and_not_counted_as_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    with open_store(path) as store:
        for number in range(1, 40):
            store.claims.take(claims.key_of(number), Claimant("another"))
    figures = claims.measure(path, claimants=1, count=20, processes=1)
    assert figures["taken"] == 20
    assert figures["refused"] > 0
    assert figures["left_held"] == 39
