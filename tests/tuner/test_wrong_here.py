"""A config that a sweep found wrong here answers no call here, even if another machine found it right."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes import ENVIRONMENT, FakeKernel, config, task_of
from tests.store.samples import trial
from tests.tuner.tuners import tuner_on
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep, now
from tunedb.store import Store, open_store, receive
from tunedb.tuner.explanation import explain_problem
from tunedb.tuner.lookup import wrong_configs


def theirs(kernel: FakeKernel, block: int, **changes: object) -> Sweep:
    """A sweep of another machine, a little newer than any of ours, that found the block right and best."""
    made = Sweep(
        kernel.problem(), INTERPRETER, kernel.hash, ENVIRONMENT, "tuned", config=config(block), time_us=1.0,
        finished=now() + timedelta(seconds=5), trials=(trial(config=config(block)),), host="theirs",
    )  # type: ignore[arg-type]  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def bring(store: Store, tmp_path: Path, sweep: Sweep) -> None:
    """Bring the sweep as `sync` does."""
    with open_store(str(tmp_path / "theirs.db")) as other:
        other.put_sweep(sweep)
        assert receive(store, other).stored == 1


@pytest.fixture
def kernel(store: Store, tmp_path: Path) -> FakeKernel:
    """A kernel that was tuned here: block 2 won, block 4 was wrong."""
    kernel = FakeKernel({1: 9.0, 2: 5.0, 4: "wrong"})
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).config == config(2)
    return kernel


def test_a_newer_sweep_of_another_machine_answers_unless_its_config_was_wrong_here(
    store: Store, tmp_path: Path, kernel: FakeKernel
) -> None:
    bring(store, tmp_path, theirs(kernel, 1))
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1).config == config(1)
    bring(store, tmp_path, theirs(kernel, 4, finished=now() + timedelta(seconds=9)))
    choice = tuner_on(store, tmp_path).choose(kernel, kernel.problem(), -1)
    assert (choice.config, choice.source) == (config(1), "store")


def test_explain_says_so(store: Store, tmp_path: Path, kernel: FakeKernel) -> None:
    bring(store, tmp_path, theirs(kernel, 4))
    task, sweeps = task_of(kernel), store.get_problem_sweeps(kernel.problem())
    wrong = wrong_configs(store, task, ENVIRONMENT, sweeps)
    explained = explain_problem(sweeps, task, ENVIRONMENT, now() + timedelta(minutes=1), wrong)
    assert [(entry.verdict, entry.reasons[0]) for entry in explained] == [
        ("chosen", "the only one"),
        ("passed over", "found wrong here"),
    ]


def test_it_is_not_borrowed_from_a_near_problem_either(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: "wrong", 2: "wrong", 4: "wrong"})
    tuner_on(store, tmp_path).tune_ahead(task_of(kernel))
    near = Problem.of(kernel.name, n=2)
    bring(store, tmp_path, theirs(kernel, 2, problem=near))
    choice = tuner_on(store, tmp_path, mode="record").choose(kernel, kernel.problem(), -1)
    assert choice.source == "default"
