"""A sweep that is to replace another one, and is cut short: what was stored serves, unless it raced and lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.fakes import ENVIRONMENT, FakeKernel, config, task_of
from tests.tuner.tuners import Time, tuner_on
from tunedb.core.device import Environment
from tunedb.core.sweep import Mark, MarkKind, Source, Sweep
from tunedb.store import Store, open_store
from tunedb.tuner.tuning_result import Swept

OLD = dataclasses.replace(ENVIRONMENT, triton="1.0")
TIMES = {1: 9.0, 2: 8.0, 4: 7.0, 8: 5.0}


def stored(store: Store, folder: Path, environment: Environment, times: dict[int, float | str]) -> Sweep:
    """Tune the task in this environment, and return the sweep."""
    result = tuner_on(store, folder, environment=environment).tune_ahead(task_of(FakeKernel(times)))
    assert isinstance(result, Swept)
    assert result.sweep.complete
    return result.sweep


def called(store: Store, folder: Path, kernel: FakeKernel) -> tuple[object, Source]:
    """What a call of a new process gets that may not tune."""
    choice = tuner_on(store, folder, mode="record").choose(kernel, kernel.problem(), -1)
    return choice.config, choice.source


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("environment", [OLD, ENVIRONMENT])
def test_the_default_alone_replaces_nothing(
    store: Store, tmp_path: Path, environment: Environment, force: bool
) -> None:
    before = stored(store, tmp_path, environment, TIMES)
    kernel = FakeKernel(TIMES)
    source = "stale" if environment == OLD else "store"
    tuner = tuner_on(store, tmp_path)
    result = tuner.tune_ahead(task_of(kernel), force=force, builds_on=None, budget=1e-9)
    if force:
        assert isinstance(result, Swept)
        assert (result.sweep.status, result.sweep.config, kernel.tried) == ("aborted", None, [1])
    assert result.choice is not None
    assert (result.choice.config, result.choice.source) == (config(8), source)
    assert tuner.choose(kernel, kernel.problem(), -1).config == config(8)
    assert called(store, tmp_path, kernel) == (config(8), source)
    assert tuner.look_up(task_of(kernel)).sweep.uid == before.uid  # type: ignore[union-attr]


def test_one_that_was_cut_short_itself_is_not_replaced_by_less(store: Store, tmp_path: Path) -> None:
    with open_store(str(tmp_path / "other.db")) as other:
        whole = stored(other, tmp_path, ENVIRONMENT, TIMES)
    store.put_sweep(dataclasses.replace(whole, complete=False))
    tuner_on(store, tmp_path).tune_ahead(task_of(FakeKernel(TIMES)), force=True, builds_on=None, budget=1e-9)
    assert called(store, tmp_path, FakeKernel(TIMES)) == (config(8), "store")


@pytest.mark.parametrize("budget", range(1, 9))
@pytest.mark.parametrize("now", [5.0, 8.5, 20.0, "wrong", "compile_error"])
def test_whatever_the_budget_calls_get_nothing_that_did_not_race_the_one_in_use(
    store: Store, tmp_path: Path, budget: int, now: float | str
) -> None:
    stored(store, tmp_path, OLD, TIMES)
    time, times = Time(), {**TIMES, 8: now}
    kernel = FakeKernel(times, on_compile=lambda _: setattr(time, "seconds", time.seconds + 1.0))
    tuner_on(store, tmp_path, time=time).tune_ahead(task_of(kernel), force=True, builds_on=None, budget=budget)
    sweeps = store.iter_sweeps(with_trials=True)
    [again] = [sweep for sweep in sweeps if sweep.environment == ENVIRONMENT]
    if again.config is None:
        assert (again.status, again.complete) == ("aborted", False)
        assert called(store, tmp_path, kernel) == (config(8), "stale")
        return
    judged = {trial.config: trial for trial in again.trials}[config(8)]
    assert judged.status != "ok" or judged.samples > 10  # as a race takes them
    best = min(time for block, time in times.items() if isinstance(time, float) and config(block) in
               {trial.config for trial in again.trials})  # fmt: skip
    assert called(store, tmp_path, kernel) == (again.config, "store")
    assert again.time_us == pytest.approx(best, rel=0.03)


def test_a_pinned_winner_serves_on_after_a_sweep_that_was_cut_short(store: Store, tmp_path: Path) -> None:
    before = stored(store, tmp_path, OLD, TIMES)
    store.marks.put(before.uid, Mark(MarkKind.PIN, "a test"))
    tuner = tuner_on(store, tmp_path)
    result = tuner.tune_ahead(task_of(FakeKernel(TIMES)), force=True, builds_on=None, budget=1e-9)
    assert result.choice is not None
    assert result.choice.config == config(8)


def test_without_anything_stored_the_best_so_far_serves(store: Store, tmp_path: Path) -> None:
    result = tuner_on(store, tmp_path).tune_ahead(task_of(FakeKernel(TIMES)), budget=1e-9)
    assert result.choice is not None
    assert (result.choice.config, result.choice.source) == (config(1), "sweep")
    assert called(store, tmp_path, FakeKernel(TIMES)) == (config(1), "store")


def test_trials_of_a_sweep_that_was_cut_short_count_when_it_goes_on(store: Store, tmp_path: Path) -> None:
    stored(store, tmp_path, OLD, TIMES)
    times: dict[int, float | str] = {1: 9.0, 2: "wrong", 4: 7.0, 8: 5.0}
    time = Time()
    kernel = FakeKernel(times, on_compile=lambda _: setattr(time, "seconds", time.seconds + 1.0))
    tuner_on(store, tmp_path, time=time).tune_ahead(task_of(kernel), force=True, builds_on=None, budget=1e-9)
    again = FakeKernel(times)
    result = tuner_on(store, tmp_path).tune_ahead(task_of(again), force=True, builds_on=None)
    assert isinstance(result, Swept)
    assert (result.sweep.complete, result.sweep.config) == (True, config(8))
    assert called(store, tmp_path, again) == (config(8), "store")
