"""The limits of a call: overrides, budget, failures, interrupts, waiting, and threads that meet."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fakes import DEVICE, FakeKernel, FakeWorkload, config, task_of
from tests.tuner.tuners import Time, tuner_on
from tunedb import settings
from tunedb.core.problem import Config
from tunedb.errors import TrialError
from tunedb.store import Store
from tunedb.tuner import session
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S


def test_an_override_beats_everything_and_fills_in_the_defaults_knobs(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner = tuner_on(store, tmp_path, override='{"fake": {"BLOCK": 7, "num_warps": 2}}')
    choice = tuner.choose(kernel, kernel.problem(), -1)
    assert (dict(choice.config), choice.source) == ({"BLOCK": 7, "num_warps": 2}, "override")
    assert kernel.tried == []


def test_an_override_of_a_knob_that_is_not_there_is_logged_once_and_ignored(
    store: Store, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner = tuner_on(store, tmp_path, override='{"fake": {"BLOK": 7}}')
    assert [tuner.choose(kernel, kernel.problem(n=n), -1).config for n in (1, 2)] == [config(2)] * 2
    (warning,) = (record.getMessage() for record in records.records if record.levelname == "WARNING")
    assert warning.startswith("TUNEDB_OVERRIDE: fake: expected one of the knobs BLOCK, got BLOK.")


def test_past_its_budget_a_process_no_longer_sweeps(store: Store, tmp_path: Path) -> None:
    time = Time()

    def slow(_: int) -> None:
        time.seconds += 5

    kernel = FakeKernel({1: 9.0, 2: 5.0}, on_compile=slow)
    tuner = tuner_on(store, tmp_path, time=time, budget=10)
    assert tuner.choose(kernel, kernel.problem(n=1), -1).source == "sweep"
    assert tuner.spent.seconds == 10
    assert tuner.choose(kernel, kernel.problem(n=2), -1).source == "nearest"  # and no sweep
    assert kernel.tried == [1, 2]


def test_a_failed_problem_is_not_swept_again_before_it_expires(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: "wrong", 2: "compile_error"})
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).source == "default"
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).source == "default"
    assert kernel.tried == [1, 2]


def test_too_little_memory_for_a_sweep_means_the_default(
    store: Store, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise MemoryError("out of memory")

    kernel = FakeKernel({1: 9.0}, on_compile=full)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).source == "default"
    assert "was given up" in records.text
    assert "MemoryError: out of memory" in records.text


def test_an_interrupt_passes_and_frees_the_lock(store: Store, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    kernel = FakeKernel({1: 9.0, 2: 5.0}, on_compile=interrupt)
    with pytest.raises(KeyboardInterrupt):
        tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    kernel.on_compile = lambda _: None
    assert tuner_on(store, tmp_path, lock_timeout=0).choose(kernel, kernel.problem(), -1).source == "sweep"


def test_a_default_is_asked_again_after_a_minute_and_gives_way(store: Store, tmp_path: Path) -> None:
    time, better = Time(), []
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    waiting = tuner_on(store, tmp_path, mode="record", time=time, on_better=lambda: better.append(1))
    assert waiting.choose(kernel, kernel.problem(), -1).source == "default"
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)  # another process tunes
    assert waiting.refresh() == 0
    assert waiting.choose(kernel, kernel.problem(), -1).config == config(1)
    time.seconds = ASK_AGAIN_AFTER_S
    assert (waiting.refresh(), better) == (1, [1])
    assert waiting.choose(kernel, kernel.problem(), -1).config == config(2)
    waiting.close()


def test_warm_answers_from_the_store_unless_it_is_forced(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    for force, source in ((False, "sweep"), (False, "store"), (True, "sweep")):
        choice = tuner_on(store, tmp_path).warm(task_of(kernel), force=force)
        assert choice is not None
        assert choice.source == source
    assert len(list(store.iter_sweeps())) == 2


def test_threads_that_meet_a_problem_that_fails_sweep_it_once(store: Store, tmp_path: Path) -> None:
    kernel, tuner = FakeKernel({1: "wrong", 2: "compile_error"}), tuner_on(store, tmp_path)
    together = threading.Barrier(4)

    def call() -> None:
        together.wait()
        assert tuner.choose(kernel, kernel.problem(), -1).source == "default"

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kernel.tried == [1, 2]


def test_two_kernels_of_one_name_do_not_share_a_memory(store: Store, tmp_path: Path) -> None:
    tuner = tuner_on(store, tmp_path)
    for kernel in (FakeKernel({1: 9.0, 2: 5.0}), FakeKernel({100: 9.0, 200: 5.0}, hash="cd" * 32)):
        assert tuner.choose(kernel, kernel.problem(), -1).config["BLOCK"] in kernel.times


def test_a_fault_of_the_kernels_own_costs_no_call_its_config(
    store: Store, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    class Faulty(FakeKernel):
        def workload(self, problem: object, index: int) -> FakeWorkload:
            raise ValueError("no such tensor")

    kernel = Faulty({1: 9.0, 2: 5.0})
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).source == "default"
    assert "no such tensor" in records.text


def test_a_config_that_was_just_tuned_and_does_not_load_gives_way_to_the_default(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})

    def load(found: Config) -> str:
        if found == config(2):
            raise TrialError("out_of_resources", "too much shared memory")
        return "loaded"

    choice, _ = tuner_on(store, tmp_path).bind(kernel, kernel.problem(), -1, load)
    assert (choice.config, choice.source) == (config(1), "default")
    assert kernel.tried == [1, 2]  # and no second sweep


@pytest.mark.parametrize("value", ["0", "-1", "true", '"64"', "null", "1.5"])
def test_an_override_of_another_kind_is_logged_and_ignored(
    store: Store, tmp_path: Path, value: str, records: pytest.LogCaptureFixture
) -> None:
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    tuner = tuner_on(store, tmp_path, override=f'{{"fake": {{"BLOCK": {value}}}}}')
    assert tuner.choose(kernel, kernel.problem(), -1).source == "sweep"
    assert "TUNEDB_OVERRIDE: fake: BLOCK: expected a value like 1, got" in records.text


def test_threads_that_miss_together_sweep_once(store: Store, tmp_path: Path) -> None:
    kernel, tuner = FakeKernel({1: 9.0, 2: 5.0}), tuner_on(store, tmp_path)
    together = threading.Barrier(4)
    found: list[object] = []

    def call() -> None:
        together.wait()
        found.append(tuner.choose(kernel, kernel.problem(), -1).config)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [config(2)] * 4
    assert kernel.tried == [1, 2]


def test_a_call_waits_for_a_sweep_elsewhere_no_longer_than_it_was_told(store: Store, tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        started.set()
        go_on.wait(10)

    busy = FakeKernel({1: 9.0}, on_compile=hold)
    sweeper = threading.Thread(target=lambda: tuner_on(store, tmp_path).choose(busy, busy.problem(), -1))
    sweeper.start()
    started.wait(10)
    late = tuner_on(store, tmp_path, lock_timeout=0.1).choose(busy, busy.problem(), -1)
    go_on.set()
    sweeper.join()
    assert late.source == "default"
    assert [sweep.status for sweep in store.iter_sweeps()] == ["tuned"]  # the late one stored nothing


def test_a_store_that_can_not_be_opened_costs_no_call_its_config(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    hopeless = settings.read({"store": str(tmp_path / "a file" / "t.db"), "lock_timeout": 1})
    kernel = FakeKernel({1: 9.0, 2: 5.0})
    guarded = session.make_tuner(hopeless).store
    choice = tuner_on(guarded, tmp_path).choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source) == (config(2), "sweep")


def test_changed_settings_make_a_new_tuner_that_has_spent_as_much() -> None:
    before = session.active()
    before.spent.seconds = 3.0
    plans = session.new_plans()
    plans["call"] = "plan"
    with settings.using(mode="off"):
        assert session.active() is not before
        assert session.active().spent.seconds == 3
        assert plans == {}
    session._plans.remove(plans)
    session._spent.seconds = 0.0


def test_the_interpreter_device_is_the_cpus() -> None:
    assert DEVICE.name == "interpreter"
