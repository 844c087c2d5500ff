"""A sweep that was killed, and the next one of its problem: real processes, a real store, a fake clock."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.fakes import DEVICE, ENVIRONMENT, FakeClock, FakeKernel, config, task_of
from tests.faults.parts import start
from tunedb import settings
from tunedb.core.device import Environment
from tunedb.core.sweep import Mark
from tunedb.store import Store
from tunedb.tuner.tuner import Tuner

TIMES: dict[int, float | str] = {1: 90.0, 2: "wrong", 4: 300.0, 8: 80.0, 16: 50.0}

KILLED = """
import sys, time
from pathlib import Path
from tests.sweep.test_resume import TIMES, tuner
from tests.fakes import FakeKernel, task_of
from tunedb.store import open_store
def compile(block):
    if block == 16:
        print("at the last one", flush=True)
        time.sleep(60)
tuner(open_store(sys.argv[1]), Path(sys.argv[1]).parent).warm(task_of(FakeKernel(TIMES, on_compile=compile)))
"""


def tuner(store: Store, folder: Path, environment: Environment = ENVIRONMENT) -> Tuner:
    """A tuner whose sweeps know what the store knows, on the fake clock."""
    return Tuner(
        settings.read({}), store, locks=folder / "locks", environment_of=lambda _: environment, clock=FakeClock
    )


def test_a_killed_sweep_loses_the_trial_in_flight_and_the_next_one_builds_on_the_others(
    store: Store, tmp_path: Path
) -> None:
    process = start(KILLED, tmp_path / "tunedb.db")
    assert process.stdout.readline() == "at the last one\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [killed] = store.iter_sweeps(finished=False, with_trials=True)
    assert (killed.status, {trial.config["BLOCK"] for trial in killed.trials}) == ("running", {1, 2, 4, 8})
    kernel = FakeKernel(TIMES)
    choice = tuner(store, tmp_path).warm(task_of(kernel))
    assert choice is not None
    assert (choice.config, choice.source) == (config(16), "sweep")
    assert kernel.tried == [1, 8, 16]  # neither the wrong one, nor the one that was far behind
    done = store.get_sweep(choice.sweep.uid if choice.sweep else "")
    assert (done.complete, done.counts) == (True, {"ok": 4, "wrong": 1})
    assert len(done.trials) == 5


def test_another_environment_knows_nothing_of_what_was_cut_off(store: Store, tmp_path: Path) -> None:
    assert tuner(store, tmp_path).warm(task_of(FakeKernel({1: 90.0, 2: "sticky"}))) is None
    other = Environment("9.9", "2.13", "580", "fake-1")
    again = FakeKernel({1: 90.0, 2: 50.0})
    choice = tuner(store, tmp_path, other).warm(task_of(again))
    assert choice is not None
    assert (again.tried, choice.config) == ([1, 2], config(2))


def test_a_config_that_lost_the_device_is_left_out_by_every_later_sweep(store: Store, tmp_path: Path) -> None:
    assert tuner(store, tmp_path).warm(task_of(FakeKernel({1: 90.0, 2: "sticky", 4: 50.0}))) is None
    for _ in range(2):
        kernel = FakeKernel({1: 90.0, 2: 10.0, 4: 50.0})
        choice = tuner(store, tmp_path).tune_ahead(task_of(kernel), force=True).choice
        assert choice is not None
        assert choice.config == config(4)
        assert 2 not in kernel.tried


def test_with_force_a_person_starts_from_nothing(store: Store, tmp_path: Path) -> None:
    assert tuner(store, tmp_path).warm(task_of(FakeKernel({1: 90.0, 4: "wrong", 8: 300.0, 2: "sticky"}))) is None
    kernel = FakeKernel({1: 90.0, 4: 50.0, 8: 40.0, 2: 10.0})
    choice = tuner(store, tmp_path).warm(task_of(kernel), force=True)
    assert choice is not None
    assert (kernel.tried, choice.config) == ([1, 4, 8, 2], config(2))


def test_a_tuning_again_races_what_is_in_use(store: Store, tmp_path: Path) -> None:
    first = tuner(store, tmp_path).warm(task_of(FakeKernel({1: 90.0, 2: 50.0, 4: 51.0})))
    assert first is not None
    assert tuner(store, tmp_path).lookup.history(task_of(FakeKernel({1: 90.0, 2: 50.0}))).incumbent == config(2)
    slower = FakeKernel({1: 90.0, 2: 99.0, 4: 51.0})  # it was better once
    again = tuner(store, tmp_path).warm(task_of(slower), force=True)
    assert again is not None
    assert (slower.tried[:2], again.config) == ([1, 2], config(4))


def test_winners_of_near_problems_are_tried_early(store: Store, tmp_path: Path) -> None:
    times = dict.fromkeys((1, 2, 4, 8), 100.0)
    for n, best in ((64, 8), (4096, 4)):
        kernel = FakeKernel(times | {best: 50.0})
        tuner(store, tmp_path).choose(kernel, kernel.problem(n=n), -1)
    quarantined = FakeKernel(times | {2: 50.0})
    choice = tuner(store, tmp_path).choose(quarantined, quarantined.problem(n=63), -1)
    assert choice.sweep is not None
    store.marks.put(choice.sweep.uid, Mark("quarantine", "a test"))
    kernel = FakeKernel(times)
    tuner(store, tmp_path).choose(kernel, kernel.problem(n=65), -1)
    assert kernel.tried[:3] == [1, 8, 4]


def test_unfinished_sweeps_come_newest_first_with_their_trials(store: Store, tmp_path: Path) -> None:
    kernel = FakeKernel({1: 90.0, 2: 50.0})
    for _ in range(2):
        tuner(store, tmp_path).warm(task_of(kernel), force=True, budget=1e-9)
    tuner(store, tmp_path).warm(task_of(kernel), force=True)  # this one gets through
    found = store.get_unfinished(kernel.problem(), DEVICE, kernel.hash, ENVIRONMENT)
    assert [(one.complete, len(one.trials)) for one in found] == [(False, 1), (False, 1)]
    assert found[0].started > found[1].started
    assert store.get_unfinished(kernel.problem(), DEVICE, "other", ENVIRONMENT) == []
