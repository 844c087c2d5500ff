"""What tuning answers with: a choice that others made, a sweep, or why there was none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import DEVICE, FakeKernel, config, task_of
from tests.tuner.tuners import tuner_on
from tunedb.store import Store
from tunedb.tuner.problem_lock import lock_problem
from tunedb.tuner.tuning_result import Answered, Skipped, Swept

TIMES = {1: 9.0, 2: 5.0}


def test_a_task_that_is_not_stored_is_swept_and_then_answered(store: Store, tmp_path: Path) -> None:
    task = task_of(FakeKernel(TIMES))
    first = tuner_on(store, tmp_path).tune_ahead(task)
    assert isinstance(first, Swept)
    assert (first.sweep.status, first.choice and first.choice.config, first.has_failed) == ("tuned", config(2), False)
    again = tuner_on(store, tmp_path).tune_ahead(task)
    assert isinstance(again, Answered)
    assert (again.choice.config, again.choice.source) == (config(2), "store")


def test_a_task_whose_configs_all_fail_is_swept_without_a_choice_and_a_call_does_not_try_again(
    store: Store, tmp_path: Path
) -> None:
    kernel = FakeKernel({1: "wrong", 2: "compile_error"})
    swept = tuner_on(store, tmp_path).tune_ahead(task_of(kernel))
    assert isinstance(swept, Swept)
    assert (swept.choice, swept.has_failed) == (None, True)
    called = tuner_on(store, tmp_path)._sweeper.tune_in_call(task_of(kernel))
    assert called == Skipped("a sweep of it failed on this machine not long ago")
    assert kernel.tried == [1, 2]
    ahead = tuner_on(store, tmp_path).tune_ahead(task_of(kernel))  # a person asked for it: it is tried again
    assert isinstance(ahead, Swept)


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_without_a_budget_nothing_is_swept(store: Store, tmp_path: Path, budget: float) -> None:
    result = tuner_on(store, tmp_path).tune_ahead(task_of(FakeKernel(TIMES)), budget=budget)
    assert result == Skipped("the budget is spent")
    assert result.choice is None


def test_a_task_that_another_process_is_tuning_is_skipped(store: Store, tmp_path: Path) -> None:
    task = task_of(FakeKernel(TIMES))

    def while_locked(act: Callable[[], object]) -> None:
        """Run the other side on a thread of its own: a thread is not kept out by its own lock."""
        with lock_problem(tmp_path / "locks", task.problem, DEVICE, 1.0) as lock:
            assert lock.held
            other = threading.Thread(target=act)
            other.start()
            other.join(30)

    results: list[object] = []
    while_locked(lambda: results.append(tuner_on(store, tmp_path, lock_timeout=0.1).tune_ahead(task)))
    assert results == [Skipped("another process is still tuning this problem", is_claimed=True)]
    tuner_on(store, tmp_path).tune_ahead(task)
    while_locked(lambda: results.append(tuner_on(store, tmp_path, lock_timeout=0.1).tune_ahead(task, force=True)))
    assert isinstance(results[1], Skipped)  # with `force` what is stored is no answer


def test_a_fault_of_the_kernels_code_is_a_reason_in_a_call_and_ahead_of_it_an_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FakeKernel, problem: object, index: int) -> None:
        raise MemoryError("out of memory")

    monkeypatch.setattr(FakeKernel, "workload", full)
    tuner = tuner_on(store, tmp_path)
    task = task_of(FakeKernel(TIMES))
    assert tuner._sweeper.tune_in_call(task) == Skipped("MemoryError: out of memory")
    with pytest.raises(MemoryError):
        tuner.tune_ahead(task)


def test_a_sweep_that_waits_for_a_thread_which_calls_another_kernel_ends(store: Store, tmp_path: Path) -> None:
    tuner = tuner_on(store, tmp_path, lock_timeout=0.1)
    skipped: list[object] = []

    def call_another(block: int) -> None:
        task = task_of(FakeKernel(TIMES), n=2)
        other = threading.Thread(target=lambda: skipped.append(tuner._sweeper.tune_in_call(task)), daemon=True)
        other.start()
        other.join(30)

    assert isinstance(tuner._sweeper.tune_in_call(task_of(FakeKernel({1: 9.0}, on_compile=call_another))), Swept)
    assert skipped == [Skipped("another thread is tuning")]
    assert isinstance(tuner._sweeper.tune_in_call(task_of(FakeKernel(TIMES), n=2)), Swept)
