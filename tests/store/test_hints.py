"""Hints in a store: kept once, found by kernel and device, never a fact, and odd ones hide no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.store.odd_rows import plant
from tests.store.samples import NOON, sweep
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Source, UsageCount
from tunedb.errors import StoreError
from tunedb.store import Store, dump, open_store, receive, upgrade
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.sql import statements

H100 = "nvidia_h100_80gb_hbm3"


def hint(n: int = 1, **changes: Any) -> Hint:
    """A hint for a problem of which its tool knew one fact."""
    values: dict[str, Any] = {
        "problem": Problem.of("moe", M=n), "device": H100, "config": Config.of(BLOCK=64, num_warps=4),
        "tool": "json-configs", "place": f"E=8,N=2.json: {n}", "evidence": '{"triton_version":"3.6.0"}',
    }  # fmt: skip
    return Hint(**{**values, **changes})


def found(store: Store, kernel: str = "moe", device: str = H100) -> list[Any]:
    """The values of the only fact of each hint."""
    return [next(iter(one.problem.plain().values()), None) for one in store.get_hints(kernel, device)]


def test_hints_come_back_as_they_were_the_newest_first(store: Store) -> None:
    hints = [hint(1), hint(2, device="nvidia_l4"), hint(3), hint(4, problem=Problem.of("gemm", M=4))]
    assert store.hints.put_all(hints) == 4
    assert [one.problem for one in store.get_hints("moe", H100)] == [hints[2].problem, hints[0].problem]
    (one,) = store.get_hints("gemm", H100)
    (whole,) = store.hints.get_all("gemm", H100)
    assert (one.config, one.tool, one.place) == (hints[3].config, "json-configs", hints[3].place)
    assert (one.evidence, whole.evidence) == ("{}", hints[3].evidence)
    assert one.arrived is not None
    assert store.hints.totals() == {("moe", H100): 2, ("moe", "nvidia_l4"): 1, ("gemm", H100): 1}


def test_the_same_hint_is_kept_once_wherever_it_was_read(store: Store) -> None:
    again = [hint(1, place="another.json: 1", evidence="{}"), hint(1, config=Config.of(BLOCK=32)), hint(1)]
    assert store.hints.put_all([hint(1)]) == 1
    assert store.hints.put_all(again) == 1
    assert found(store) == [1, 1]
    assert store.hints.known([hint(1).digest, hint(9).digest]) == {hint(1).digest}


def test_many_hints_are_kept_and_the_newest_are_read(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "MAX_HINTS", 300)
    with open_store(file_url) as store:
        assert store.hints.put_all(hint(n) for n in range(450)) == 450
        assert found(store) == list(range(449, 149, -1))
        assert store.hints.remove("moe") == 450
        assert found(store) == []


@pytest.mark.parametrize(
    "wrong",
    [{"device": "a\nb"}, {"tool": ""}, {"tool": "x" * 33}, {"place": "\0"}, {"evidence": "[]"}, {"evidence": "{"}],
)
def test_a_hint_that_a_database_would_not_give_back_is_refused(wrong: dict[str, Any]) -> None:
    with open_store("sqlite://") as store, pytest.raises(ValueError, match="xpected"):
        store.hints.put_all([hint(1), hint(2, **wrong)])


def test_a_hint_is_no_fact_it_leaves_its_store_by_no_way(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db")) as store, open_store("sqlite://") as other:
        store.hints.put_all([hint(1)])
        store.put_sweep(sweep(1))
        assert dump(store.iter_sweeps(with_trials=True), tmp_path / "x.jsonl") == 1
        assert "moe" not in (tmp_path / "x.jsonl").read_text()
        receive(other, store)
        assert other.hints.totals() == {}
        assert store.upkeep.totals().problems == 1


def test_odd_rows_hide_no_hint(stored_url: str, records: pytest.LogCaptureFixture) -> None:
    upgrade(stored_url)
    with open_store(stored_url) as store:
        store.hints.put_all([hint(1), hint(2)])
    assert plant(stored_url, "hint") > 5
    with open_store(stored_url) as store:
        assert {1, 2} <= set(found(store))
        store.hints.totals()
        assert store.hints.put_all([hint(3)]) == 1
        assert {1, 2, 3} <= set(found(store))
    logged = [record.getMessage() for record in records.records if "can't be read" in record.getMessage()]
    assert len(logged) == 1


def test_a_guarded_and_a_layered_store_give_hints_and_none_if_the_store_fails(tmp_path: Path) -> None:
    def failing() -> Store:
        raise StoreError("it is away")

    with open_store(str(tmp_path / "a.db")) as store:
        store.hints.put_all([hint(1)])
    good = GuardedStore("a.db", lambda: open_store(str(tmp_path / "a.db")))
    assert [one.problem for one in LayeredStore(good).get_hints("moe", H100)] == [hint(1).problem]
    assert LayeredStore(GuardedStore("b.db", failing)).get_hints("moe", H100) == []
    good.close()


def test_calls_that_a_hint_served_are_counted_as_misses(store: Store) -> None:
    store.add_usage([UsageCount(sweep().problem, sweep().device, Source.HINT, 3, NOON, NOON, "node7")])
    (count,) = store.usage.served([Source.HINT])
    assert (count.usage.count, count.is_open) == (3, True)
