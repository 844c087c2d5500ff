"""A process that meets ever new shapes: what it remembers of them, and what it does each minute, is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import FakeKernel, config, task_of
from tests.memory import growth
from tests.tuner.tuners import Time, tuner_on
from tunedb._internal.bounded import make_room
from tunedb.core.sweep import Source, Sweep, SweepStatus, Trial, TrialStatus
from tunedb.core.task import Choice
from tunedb.store.guarded import GuardedStore
from tunedb.tuner import choice_cache
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, MAX_ASKED, MAX_CHOICES, ChoiceCache

MOST = 50
SHAPES = 1200  # more than the usage counts of a minute


@pytest.mark.parametrize("mode", ["record", "off"])
def test_what_is_remembered_of_ever_new_shapes_is_bounded(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice_cache, "MAX_CHOICES", MOST)
    kernel = FakeKernel({1: 9.0})
    tuner = tuner_on(GuardedStore("none", lambda: None, writable=False), tmp_path, mode=mode, time=Time())

    def call(n: int) -> object:
        return tuner.choose(kernel, kernel.problem(n=n), -1)

    for n in range(SHAPES):
        call(n)
    assert growth(call, SHAPES, SHAPES) < 3000 * MOST  # a shape takes 1 to 3 KiB
    assert max(len(tuner.cache._choices), len(tuner.cache._weak)) <= MOST
    tuner.close()


def test_trials_of_a_sweep_do_not_stay_in_memory(tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner = tuner_on(GuardedStore("none", lambda: None, writable=False), tmp_path)
    assert tuner.choose(kernel, kernel.problem(), -1).sweep.trials  # type: ignore[union-attr]
    remembered = tuner.cache.get(task_of(kernel))
    assert remembered is not None
    assert remembered.sweep is not None
    assert remembered.sweep.trials == ()


def test_a_minute_asks_for_a_bounded_number_of_defaults_and_for_each_in_its_turn() -> None:
    time, kernel = Time(), FakeKernel({1: 9.0})
    cache = ChoiceCache(lambda: None, time)
    default = Choice(config(1), Source.DEFAULT)
    for n in range(2 * MAX_ASKED + 10):
        cache.put(task_of(kernel, n=n), default, ask_again=True)
    assert cache.due() == []
    rounds = []
    for minute in range(1, 5):
        time.seconds = minute * ASK_AGAIN_AFTER_S
        rounds.append([task.problem["n"] for task in cache.due()])
    assert rounds[0] == list(range(MAX_ASKED))
    assert rounds[1] == list(range(MAX_ASKED, 2 * MAX_ASKED))
    assert rounds[2] == [*range(2 * MAX_ASKED, 2 * MAX_ASKED + 10), *range(MAX_ASKED - 10)]
    cache.close()


def test_a_weak_choice_that_is_dropped_takes_the_plans_with_it() -> None:
    forgotten: list[int] = []
    kernel = FakeKernel({1: 9.0})
    cache = ChoiceCache(lambda: None, Time(), lambda: forgotten.append(1))
    sweep = Sweep(
        kernel.problem(), task_of(kernel).device, kernel.hash, None, SweepStatus.TUNED, config=config(1),  # type: ignore[arg-type]
        trials=(Trial(config(1), TrialStatus.OK),),
    )  # fmt: skip
    for n in range(MAX_CHOICES + 1):
        cache.put(task_of(kernel, n=n), Choice(config(1), Source.STORE, sweep), ask_again=True)
    assert len(cache._choices) <= MAX_CHOICES
    assert forgotten == []
    for n in range(MAX_CHOICES // 2 + 1):
        cache.put(task_of(kernel, n=n), Choice(config(1), Source.DEFAULT), ask_again=True)
    assert forgotten == [1]
    cache.close()


def test_room_is_made_by_dropping_the_older_half() -> None:
    table = {n: str(n) for n in range(10)}
    assert make_room(table, 11) == []
    assert make_room(table, 10) == ["0", "1", "2", "3", "4"]
    assert list(table) == [5, 6, 7, 8, 9]
    table = {1: "1"}
    assert make_room(table, 1) == ["1"]
