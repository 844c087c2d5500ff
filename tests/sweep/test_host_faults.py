"""A machine that fails during a sweep: the sweep is aborted with the cause, and no config is to blame."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeClock, FakeKernel, FakeWorkload, Notebook, config, context, task_of
from tests.tuner.tuners import tuner_on
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, now
from tunedb.errors import HostFaultError
from tunedb.runtime.failures import typed_errors
from tunedb.store import Store
from tunedb.sweep.history import SweepHistory
from tunedb.sweep.run import RETRY_AFTER_FAULT, run_sweep

TIMES = {1: 90.0, 2: 300.0, 4: 50.0, 8: 80.0}
FULL = OSError(errno.ENOSPC, "No space left on device")


def break_at(step: str, block: int, patch: pytest.MonkeyPatch) -> None:
    """Let the disk be full at that step of one config."""
    before: Callable[..., Any] = getattr(FakeWorkload, step)

    def broken(self: FakeWorkload, one: Config) -> Any:
        if one == config(block):
            raise FULL
        return before(self, one)

    patch.setattr(FakeWorkload, step, broken)


def swept(kernel: FakeKernel, history: SweepHistory | None = None, clock: Callable[[], FakeClock] = FakeClock) -> Sweep:
    return run_sweep(task_of(kernel), context(Notebook(), clock), history=history or SweepHistory())


@pytest.mark.parametrize("step", ["prepare", "compile", "check", "launcher"])
@pytest.mark.parametrize("block", TIMES)
def test_the_sweep_is_aborted_with_the_cause_wherever_the_machine_fails(
    step: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(step, block, monkeypatch)
    done = swept(FakeKernel(TIMES))
    assert (done.status, done.complete, done.config) == ("aborted", False, None)
    assert done.finished is not None
    assert done.expires is not None
    assert done.expires - done.finished < 2 * RETRY_AFTER_FAULT
    assert "No space left on device" in " ".join(trial.error or "" for trial in done.trials)
    assert set(done.counts) <= {"ok", "pruned"}  # none counts as failed


def test_the_next_sweep_tries_every_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("prepare", "compile", "check", "launcher"):
        with monkeypatch.context() as patch:
            break_at(step, 4, patch)
            broken = swept(FakeKernel(TIMES))
        kernel = FakeKernel(TIMES)
        done = swept(kernel, SweepHistory(unfinished=[broken]))
        assert 4 in kernel.tried
        assert (done.status, done.complete, done.config) == ("tuned", True, config(4))


class Failing(FakeClock):
    """A clock on a machine that fails after some samples."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        self.left -= count
        if self.left < 0:
            with typed_errors():
                raise RuntimeError("Triton Error [CUDA]: out of memory")
        return super().sample(launch, count)


@pytest.mark.parametrize("after", [25, 60, 100])
def test_a_machine_that_fails_in_the_race_leaves_what_was_right_as_it_was(after: int) -> None:
    done = swept(FakeKernel({1: 90.0, 2: 89.0, 4: 88.0}), clock=lambda: Failing(after))
    assert (done.status, done.config) == ("aborted", None)
    assert any("out of memory" in (trial.error or "") for trial in done.trials)
    assert done.counts == {"ok": len(done.trials)} or done.counts["pruned"] == 1


def test_a_machine_that_fails_at_the_second_check_leaves_no_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Config] = []

    def check(self: FakeWorkload, one: Config) -> None:
        checked.append(one)
        if checked.count(config(4)) == 2:
            with typed_errors():
                raise MemoryError

    monkeypatch.setattr(FakeWorkload, "check", check)
    done = swept(FakeKernel(TIMES))
    assert (done.status, done.config, done.counts) == ("aborted", None, {"ok": 4})


@pytest.mark.parametrize("status", ["runtime_error", "pruned", "wrong", "compile_error", "out_of_resources", "timeout"])
def test_only_a_verdict_that_is_the_configs_own_is_carried_over(status: str) -> None:
    broken = swept(FakeKernel({1: 90.0, 2: status, 4: "sticky"}))
    kernel = FakeKernel({1: 90.0, 2: 10.0, 4: 50.0})
    done = swept(kernel, SweepHistory(unfinished=[broken]))
    assert (2 in kernel.tried) == (status in ("runtime_error", "pruned"))
    assert 4 not in kernel.tried  # it lost the device
    assert done.complete


def test_a_call_runs_the_default_and_tries_again_after_a_while(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    kernel = FakeKernel(TIMES)
    with monkeypatch.context() as patch:
        break_at("compile", 4, patch)
        for _ in range(2):  # as two processes of one job
            choice = tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
            assert (choice.config, choice.source, choice.failed) == (config(1), "default", None)
    assert kernel.tried == [1, 2]  # the second one did not try
    assert "No space left on device" in records.text
    later = now() + RETRY_AFTER_FAULT
    monkeypatch.setattr("tunedb.tuner.lookup.now", lambda: later)
    choice = tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source) == (config(4), "sweep")


def test_ahead_of_the_calls_it_is_tried_again_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = FakeKernel(TIMES)
    with monkeypatch.context() as patch:
        break_at("compile", 4, patch)
        assert tuner_on(store, tmp_path).warm(task_of(kernel)) is None
    choice = tuner_on(store, tmp_path).warm(task_of(kernel))
    assert choice is not None
    assert choice.config == config(4)


def test_a_stored_config_that_meets_a_fault_is_not_given_up(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel(TIMES)
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    tuner = tuner_on(store, tmp_path)

    def load(one: Config) -> None:
        with typed_errors():
            raise FULL

    with pytest.raises(HostFaultError):
        tuner.bind(kernel, kernel.problem(), -1, load)
    assert tuner.bind(kernel, kernel.problem(), -1, lambda one: one)[1] == config(4)
