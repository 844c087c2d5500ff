"""Problems on several slots of a host at once: shared among workers, each once, whatever happens to a worker."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.fleet.conftest import Outcomes, tasks_of, write_shapes
from tests.forked_workers import start_workers_anew
from tests.planted import HANG_WHILE
from tests.threads import eventually
from tunedb import settings
from tunedb.core.claim import ClaimKey, ClaimState
from tunedb.core.device import Device
from tunedb.core.sweep import Trial
from tunedb.core.task import TuningTask
from tunedb.errors import StoreUnavailable, SweepError
from tunedb.fleet.host import tune_on_host
from tunedb.fleet.slots import Slot, interpreters, needed
from tunedb.fleet.task_run import HostRun, Outcome
from tunedb.store import Store, open_store
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.problem_lock import lock_problem

pytestmark = pytest.mark.usefixtures("planted")


class Heard:
    """An observer that writes down what it hears."""

    def __init__(self, on_begin: Callable[[Slot, TuningTask], object] = lambda slot, task: None) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.on_begin = on_begin

    def begins(self, slot: Slot, task: TuningTask) -> None:
        self.events.append(("begins", slot.name, task.problem))
        self.on_begin(slot, task)

    def started(self, slot: Slot, candidates: int) -> None:
        self.events.append(("started", slot.name, candidates))

    def tried(self, slot: Slot, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        self.events.append(("tried", slot.name, trial.config["BLOCK"]))

    def passed_over(self, slot: Slot, task: TuningTask) -> None:
        self.events.append(("passed over", slot.name, task.problem))

    def done(self, slot: Slot, outcome: Outcome) -> None:
        self.events.append(("done", slot.name, outcome.word))


def tune(
    store: Store, problems: Sequence[Outcomes], workers: int = 2, observer: Heard | None = None, **options: Any
) -> list[Outcome]:
    """Tune these problems of the planted kernel."""
    tasks = tasks_of(*problems)
    run = HostRun(store, options.pop("settings", settings.current()), step=60.0, **options)
    return tune_on_host(tasks, interpreters(workers), run, observer or Heard())


def test_each_problem_is_swept_once_and_every_worker_has_its_part(store: Store) -> None:
    heard = Heard()
    problems = [{"b1": 0.001, "b2": 0.001 * n} for n in range(1, 7)]
    outcomes = tune(store, problems, 2, heard)
    assert [outcome.word for outcome in outcomes] == ["sweep"] * 6
    assert Counter(outcome.task.problem for outcome in outcomes) == Counter(
        {task.problem: 1 for task in tasks_of(*problems)}
    )
    assert len(list(store.iter_sweeps(finished=False))) == 6
    assert {event[1] for event in heard.events if event[0] == "done"} == {"interpreter 0", "interpreter 1"}
    assert [outcome.word for outcome in tune(store, problems, 2)] == ["stored"] * 6


def test_the_longest_comes_first(store: Store) -> None:
    heard = Heard()
    problems = [{"b1": 0.001}, {"b2": 0.001}, {"b4": 0.001}]
    seconds = {task.key: float(number) for number, task in enumerate(tasks_of(*problems))}
    outcomes = tune(store, problems, 1, heard, seconds=seconds)
    assert [list(outcome.task.problem) for outcome in outcomes] == [["b4"], ["b2"], ["b1"]]


def test_a_worker_that_dies_costs_its_trial_and_the_others_go_on(store: Store) -> None:
    outcomes = tune(store, [{"b1": 0.001, "b2": "crash"}, {"b1": 0.002}, {"b4": 0.001}, {"b8": "wrong"}])
    assert Counter(outcome.word for outcome in outcomes) == {"sweep": 3, "failed": 1}
    crashed = next(outcome.sweep for outcome in outcomes if len(outcome.task.problem) == 2)
    assert crashed is not None
    assert {trial.config["BLOCK"]: trial.status for trial in crashed.trials} == {1: "ok", 2: "runtime_error"}


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hangs := tmp_path / "hangs").touch()
    problems: list[Outcomes] = [{"b1": 0.001, "b2": f"{HANG_WHILE}{hangs}"}, {"b1": 0.002}, {"b4": 0.001}]

    def kill(slot: Slot, task: TuningTask) -> None:
        if len(task.problem) == 2:
            assert eventually(
                lambda: any(sweep.trials for sweep in store.iter_sweeps(finished=False, with_trials=True)), 60
            )
            [child] = [pid for pid in children() if pid not in before]
            hangs.unlink()
            os.kill(child, signal.SIGKILL)

    start_workers_anew(monkeypatch)  # as children of this process
    before = children()
    outcomes = tune(store, problems, 1, Heard(kill))
    assert [outcome.word for outcome in outcomes] == ["sweep"] * 3
    tuned = [sweep.problem for sweep in store.iter_sweeps()]
    assert len(tuned) == len(set(tuned)) + 1  # the interrupted one, which is aborted


def children() -> set[int]:
    """The processes that this one has started and that run."""
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in listed for pid in path.read_text().split()}


def test_what_another_process_tunes_is_passed_over_and_taken_up_at_the_end(store: Store) -> None:
    problems: list[Outcomes] = [{"b1": 0.001}, {"b2": 0.001}, {"b4": 0.001}]
    taken = tasks_of(*problems)[0]
    heard = Heard()
    with lock_problem(lock_folder(settings.current()), taken.problem, taken.device, 1) as lock:
        heard.passed_over = lambda slot, task: lock._release()  # type: ignore[method-assign]
        outcomes = tune(store, problems, 1, heard)
    assert [list(outcome.task.problem) for outcome in outcomes] == [["b2"], ["b4"], ["b1"]]
    assert [outcome.word for outcome in outcomes] == ["sweep"] * 3


def test_what_another_process_does_not_finish_ends_as_busy(store: Store) -> None:
    problems: list[Outcomes] = [{"b1": 0.001}, {"b2": 0.001}]
    taken = tasks_of(*problems)[0]
    impatient = dataclasses.replace(settings.current(), lock_timeout=0.1)
    with lock_problem(lock_folder(settings.current()), taken.problem, taken.device, 1):
        outcomes = tune(store, problems, 2, settings=impatient)
    assert {(*outcome.task.problem, outcome.word) for outcome in outcomes} == {("b2", "sweep"), ("b1", "busy")}


@pytest.mark.parametrize("hours", [0.0, -24.0, 24.0])
def test_with_force_what_was_swept_meanwhile_is_not_swept_again_whatever_the_clock_of_its_host(
    store: Store, hours: float
) -> None:
    from tests.store.samples import sweep, trial
    from tunedb.core.problem import Config
    from tunedb.core.sweep import now

    [task] = tasks_of({"b1": 0.001})
    heard = Heard()
    config = Config.of(BLOCK=1)
    with lock_problem(lock_folder(settings.current()), task.problem, task.device, 1) as lock:

        def publish(slot: Slot, passed: TuningTask) -> None:
            """Do what the other process does at last."""
            if not list(store.iter_sweeps()):
                store.put_sweep(
                    sweep(
                        problem=task.problem,
                        device=task.device,
                        kernel_hash=task.kernel.hash,
                        config=config,
                        trials=(trial(config=config),),
                        started=now() + timedelta(hours=hours),
                        finished=now() + timedelta(hours=hours),
                    )
                )
                lock._release()

        heard.passed_over = publish  # type: ignore[method-assign]
        [outcome] = tune(store, [{"b1": 0.001}], 1, heard, force=True)
    assert (outcome.word, outcome.sweep and outcome.sweep.config) == ("stored", config)
    assert len(list(store.iter_sweeps())) == 1
    assert [outcome.word for outcome in tune(store, [{"b1": 0.001}], 1, force=True)] == ["sweep"]


def test_with_force_what_was_stored_before_is_swept_again_although_its_host_was_ahead(store: Store) -> None:
    from tests.store.samples import sweep, trial
    from tunedb.core.problem import Config
    from tunedb.core.sweep import now

    [task] = tasks_of({"b1": 0.001})
    config, later = Config.of(BLOCK=1), now() + timedelta(hours=24)
    store.put_sweep(
        sweep(
            problem=task.problem, device=task.device, kernel_hash=task.kernel.hash, config=config,
            trials=(trial(config=config),), started=later, finished=later,
        )
    )  # fmt: skip
    heard = Heard()
    with lock_problem(lock_folder(settings.current()), task.problem, task.device, 1) as lock:
        heard.passed_over = lambda slot, passed: lock._release()  # type: ignore[method-assign]
        [outcome] = tune(store, [{"b1": 0.001}], 1, heard, force=True)
    assert outcome.word == "sweep"
    assert len(list(store.iter_sweeps())) == 2


def test_a_slot_whose_worker_can_not_start_leaves_its_problems_to_the_others(
    store: Store, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_workers_anew(monkeypatch)  # a fork needs no PYTHONHOME
    broken = dataclasses.replace(interpreters(1)[0], name="broken", variables={"PYTHONHOME": "/nowhere"})
    run = HostRun(store, settings.current())
    problems = tasks_of({"b1": 0.001}, {"b2": 0.001}, {"b4": 0.001})
    outcomes = tune_on_host(problems, [broken, *interpreters(1)], run, Heard())
    assert [outcome.word for outcome in outcomes] == ["sweep"] * 3
    assert "The worker process did not start (exit code 1)" in records.text
    with pytest.raises(SweepError, match="did not start"):
        tune_on_host(tasks_of({"b8": 0.001}), [broken], run, Heard())


def test_the_problems_of_a_device_without_a_slot_that_can_go_on_are_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_workers_anew(monkeypatch)  # a fork needs no PYTHONHOME
    other = Device("another", "interpreter", "sm_1", 1)
    broken = Slot("broken", other, -1, -1, {"PYTHONHOME": "/nowhere"})
    [here] = tasks_of({"b1": 0.001})
    there = [TuningTask(task.kernel, task.problem, broken.placement) for task in tasks_of({"b1": 0.001}, {"b2": 0.001})]
    outcomes = tune_on_host([*there, here], [broken, *interpreters(1)], HostRun(store, settings.current()), Heard())
    words = {outcome.task.key: (outcome.word, outcome.why) for outcome in outcomes}
    assert words.pop(here.key) == ("sweep", None)
    assert {word for word, _ in words.values()} == {"lost"}
    assert all("did not start (exit code 1)" in (why or "") for _, why in words.values())
    assert set(words) == {task.key for task in there}


def test_a_slot_is_left_out_only_if_its_own_device_has_too_few_tasks() -> None:
    other = Device("another", "interpreter", "sm_1", 1)
    slots = [*interpreters(2), Slot("other", other, -1, -1)]
    [task] = tasks_of({"b1": 0.001})
    assert needed(slots, [TuningTask(task.kernel, task.problem, slots[2].placement)]) == [slots[2]]
    assert needed(slots, [task]) == [slots[0]]
    assert needed(slots, []) == []


def test_a_store_that_fails_ends_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uid: str) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(store, "get_sweep", fail)
    with pytest.raises(StoreUnavailable, match="the disk is gone"):
        tune(store, [{"b1": 0.001}, {"b2": 0.001}])


def test_a_spent_budget_leaves_the_rest(store: Store) -> None:
    assert tune(store, [{"b1": 0.001}, {"b2": 0.001}], budget=0.0) == []
    assert list(store.iter_sweeps(finished=False)) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_all_workers_and_keeps_what_was_tuned(tmp_path: Path, number: int, code: int) -> None:
    (hangs := tmp_path / "hangs").touch()
    hanging = f"{HANG_WHILE}{hangs}"
    problems: list[Outcomes] = [{"b1": 0.001}, {"b1": 0.001, "b2": hanging}, {"b4": 0.001, "b8": hanging}]
    shapes = write_shapes(tmp_path / "shapes.jsonl", problems)
    ran = forked.Program(["-m", "tunedb", "warm", "--from", shapes, "--workers", "3"], libraries=forked.WITH_TUNEDB)
    store = open_store(settings.current().store)

    def is_under_way() -> bool:
        sweeps = list(store.iter_sweeps(finished=False, with_trials=True))
        return len(sweeps) == 3 and all(sweep.trials for sweep in sweeps) and any(sweep.config for sweep in sweeps)

    assert eventually(is_under_way, 60)
    ran.send_signal(number)
    _, err = ran.communicate(timeout=120)  # the configs hang for ten minutes
    assert ran.returncode == code, err
    assert "What was tuned is stored: run the same command again to continue." in err
    assert "Traceback" not in err
    assert Counter(sweep.status for sweep in store.iter_sweeps(finished=False)) == {"tuned": 1, "aborted": 2}
    for task in tasks_of(*problems):  # nobody holds a problem any more
        claim = store.claims.get(ClaimKey.of(task))
        assert claim is not None
        assert claim.state != ClaimState.HELD
        with lock_problem(lock_folder(settings.current()), task.problem, task.device, 0.0) as lock:
            assert lock.held


def test_a_claim_that_its_worker_could_not_give_back_is_given_back_for_it(store: Store) -> None:
    assert [outcome.word for outcome in tune(store, [{"b1": "crash"}])] == ["failed"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunedb.worker.supervisor.MAX_RESTARTS", 0)
        assert [outcome.word for outcome in tune(store, [{"b2": "crash"}])] == ["aborted"]
    for key in (ClaimKey.of(task) for task in tasks_of({"b1": "crash"}, {"b2": "crash"})):
        claim = store.claims.get(key)
        assert claim is not None
        assert claim.state != ClaimState.HELD


def test_a_slot_waits_for_a_gpu_that_another_process_uses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter stands for the GPU."""
    tries = iter([False, False, True, True])
    monkeypatch.setattr("tunedb.fleet.host.try_gpu", lambda name: contextlib.nullcontext(next(tries)))
    slot = dataclasses.replace(interpreters(1)[0], variables={"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "0"})
    outcomes = tune_on_host(tasks_of({"b1": 0.001}, {"b2": 0.001}), [slot], HostRun(store, settings.current()), Heard())
    assert [outcome.word for outcome in outcomes] == ["sweep", "sweep"]
    assert next(tries, None) is None
    monkeypatch.setattr("tunedb.fleet.host.try_gpu", lambda name: contextlib.nullcontext(False))
    assert tune_on_host(tasks_of({"b4": 0.001}), [slot], HostRun(store, settings.current(), budget=0.3), Heard()) == []
