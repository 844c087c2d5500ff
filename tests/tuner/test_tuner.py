"""The life of a call, with a fake kernel and a real store: who sweeps, who looks up, who takes the default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import DEVICE, ENVIRONMENT, FakeKernel, config, task_of
from tests.tuner.tuners import tuner_on
from tunedb.core.device import Placement
from tunedb.core.task import TuningTask
from tunedb.errors import MissError, TrialError
from tunedb.store import Store, open_store


def test_a_miss_sweeps_once_and_the_result_is_the_answer(store: Store, tmp_path: Path) -> None:
    kernel, tuner = FakeKernel({1: 9.0, 2: 5.0}), tuner_on(store, tmp_path)
    first = tuner.choose(kernel, kernel.problem(), -1)
    again = tuner.choose(kernel, kernel.problem(), -1)
    assert (first.config, first.source) == (config(2), "sweep")
    assert (again.config, again.source) == (config(2), "memory")
    assert kernel.tried == [1, 2]


def test_a_second_process_reads_what_the_first_one_tuned(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    second = tuner_on(open_store(str(tmp_path / "tunedb.db")), tmp_path).choose(kernel, kernel.problem(), -1)
    assert (second.config, second.source) == (config(2), "store")
    assert second.sweep is not None
    assert second.sweep.speedup == pytest.approx(9 / 5)
    assert kernel.tried == [1, 2]


@pytest.mark.parametrize("mode", ["record", "read", "off"])
def test_a_mode_that_does_not_tune_takes_the_default_on_a_miss(store: Store, tmp_path: Path, mode: str) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    choice = tuner_on(store, tmp_path, mode=mode).choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source) == (config(1), "default")
    assert kernel.tried == []
    assert list(store.iter_sweeps()) == []


@pytest.mark.parametrize("mode", ["tune", "record", "read", "strict"])
def test_every_mode_but_off_uses_what_is_stored(store: Store, tmp_path: Path, mode: str) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    assert tuner_on(store, tmp_path, mode=mode).choose(kernel, kernel.problem(), -1).config == config(2)
    assert tuner_on(store, tmp_path, mode="off").choose(kernel, kernel.problem(), -1).config == config(1)


def test_strict_raises_on_a_miss_and_names_the_command(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0})
    with pytest.raises(MissError, match="tunedb warm fake"):
        tuner_on(store, tmp_path, mode="strict").choose(kernel, kernel.problem(), -1)


def test_a_sweep_from_another_environment_is_stale_and_used_at_once(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    newer = replace(ENVIRONMENT, triton="4.0")
    for mode in ("tune", "strict"):
        choice = tuner_on(store, tmp_path, environment=newer, mode=mode).choose(kernel, kernel.problem(), -1)
        assert (choice.config, choice.source) == (config(2), "stale")
    assert kernel.tried == [1, 2]


def test_an_edited_kernel_and_another_problem_see_nothing_of_it(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    edited = FakeKernel({1: 9.0, 2: 5.0}, hash="cd" * 32)
    reader = tuner_on(store, tmp_path, mode="read")
    assert reader.choose(edited, edited.problem(), -1).source == "default"
    assert reader.look_up(TuningTask(kernel, kernel.problem(n=2), Placement(DEVICE, -1))) is None


def test_a_stored_config_outside_todays_space_is_passed_over(store: Store, tmp_path: Path) -> None:
    old = FakeKernel({1: 9.0, 2: 5.0})
    tuner_on(store, tmp_path).choose(old, old.problem(), -1)
    smaller = FakeKernel({1: 9.0, 4: 7.0})
    assert tuner_on(store, tmp_path, mode="read").choose(smaller, smaller.problem(), -1).source == "default"
    assert tuner_on(store, tmp_path).choose(smaller, smaller.problem(), -1).config == config(4)
    assert tuner_on(store, tmp_path, mode="read").choose(old, old.problem(), -1).config == config(
        2
    )  # nothing was marked


def test_a_stored_config_that_does_not_load_gives_way_to_the_next(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0, 4: 3.0})
    for times in ({1: 9.0, 2: 5.0}, {1: 9.0, 4: 3.0}):
        older = FakeKernel(times)
        tuner = tuner_on(store, tmp_path)
        tuner.warm(task_of(older), force=True)
    loaded: list[int] = []

    def load(found: object) -> str:
        block = found["BLOCK"]  # type: ignore[index]  # a config
        loaded.append(block)
        if block == 4:
            raise TrialError("out_of_resources", "too much shared memory")
        return "loaded"

    tuner = tuner_on(store, tmp_path, mode="read")
    choice, result = tuner.bind(kernel, kernel.problem(), -1, load)
    assert (choice.config, result, loaded) == (config(2), "loaded", [4, 2])
    other = tuner_on(store, tmp_path, mode="read")  # another process still has it
    assert other.choose(kernel, kernel.problem(), -1).config == config(4)


def test_a_default_that_does_not_load_is_an_error_and_no_loop(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0})

    def load(_: object) -> None:
        raise TrialError("compile_error", "no")

    with pytest.raises(TrialError, match="no"):
        tuner_on(store, tmp_path, mode="read").bind(kernel, kernel.problem(), -1, load)
    with pytest.raises(TrialError, match="no"):
        tuner_on(store, tmp_path).bind(kernel, kernel.problem(), -1, load)
