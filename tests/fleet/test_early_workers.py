"""Workers that are started before the problems of a run are known, and those of them that none takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.conftest import tasks_of
from tests.fleet.test_host import Heard
from tests.forked_workers import start_workers_anew
from tests.planted import NAME
from tests.store.samples import DEVICE
from tunedb import settings
from tunedb.fleet import early_workers as module
from tunedb.fleet.early_workers import EarlyWorkers
from tunedb.fleet.gpu_lock import try_gpu
from tunedb.fleet.host import tune_on_host
from tunedb.fleet.slots import Slot, interpreters
from tunedb.fleet.task_run import HostRun
from tunedb.store import Store
from tunedb.worker import process
from tunedb.worker.messages import Prepare
from tunedb.worker.process import Started, start_process

pytestmark = pytest.mark.usefixtures("planted")
GPUS = [
    Slot(f"GPU {number}", DEVICE, number, 0, {"CUDA_VISIBLE_DEVICES": str(number)}, uuid=f"GPU-{number}")
    for number in range(3)
]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Started]:
    """All processes of workers, as they are started."""
    started: list[Started] = []

    def start(variables: dict[str, str]) -> Started:
        started.append(start_process(variables))
        return started[-1]

    for name in ("tunedb.fleet.early_workers", "tunedb.worker.supervisor"):
        monkeypatch.setattr(f"{name}.start_process", start)
    return started


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Prepare]:
    """What is said to workers before they are taken."""
    messages: list[Prepare] = []

    def note(child: object, message: Prepare) -> None:
        messages.append(message)
        process.tell(child, message)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "tell", note)
    return messages


def is_gone(started: Started) -> bool:
    return started[0].poll() is not None


def test_a_run_uses_the_workers_that_are_there(store: Store, processes: list[Started]) -> None:
    slots = interpreters(2)
    with EarlyWorkers() as early:
        early.start(slots, 2, [NAME])
        assert len(processes) == 2
        outcomes = tune_on_host(
            tasks_of({"b1": 0.001}, {"b2": 0.001}), slots, HostRun(store, settings.current()), Heard(), early
        )
        assert [outcome.word for outcome in outcomes] == ["sweep", "sweep"]
    assert len(processes) == 2
    assert all(map(is_gone, processes))


def test_no_more_are_started_than_there_are_problems_for_each_device(
    processes: list[Started], told: list[Prepare], tmp_path: Path
) -> None:
    other = dataclasses.replace(GPUS[2], device=dataclasses.replace(DEVICE, name="another"))
    with EarlyWorkers(tmp_path) as early:
        early.start([*GPUS[:2], other], 1, [NAME])
        assert len(processes) == 2
        taken = early.take(["GPU 0", "GPU 1", "no such slot"])
        assert list(taken) == ["GPU 0"]
        assert [is_gone(started) for started in processes] == [False, True]
        taken["GPU 0"].end()
    assert told == [Prepare((NAME,), 0)] * 2


def test_those_that_none_takes_end_with_the_block_also_at_an_error(processes: list[Started]) -> None:
    def plan() -> None:
        with EarlyWorkers() as early:
            early.start(interpreters(2), 2, [])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan()
    assert len(processes) == 2
    assert all(map(is_gone, processes))


def test_one_that_gets_no_problem_ends_with_the_run(store: Store, processes: list[Started]) -> None:
    with EarlyWorkers() as early:
        early.start(interpreters(1), 1, [])
        run = HostRun(store, settings.current(), budget=0.0)
        assert tune_on_host(tasks_of({"b1": 0.001}), interpreters(1), run, Heard(), early) == []
        assert [is_gone(started) for started in processes] == [True]


@pytest.mark.usefixtures("processes")
def test_the_context_is_made_on_gpus_where_no_other_process_sweeps(told: list[Prepare], tmp_path: Path) -> None:
    with try_gpu("GPU-1", tmp_path) as is_held, EarlyWorkers(tmp_path) as early:
        assert is_held
        early.start([*GPUS, *interpreters(1)], 9, [])
        assert [message.index for message in told] == [0, None, 0, None]
        for name, is_free in (("GPU-0", False), ("GPU-2", False)):  # another process's sweep has to wait
            with try_gpu(name, tmp_path) as is_held:
                assert is_held == is_free
        taken = early.take(["GPU 0"])
        for name, is_free in (("GPU-0", False), ("GPU-2", True)):  # the worker of GPU 0 may still make the context
            with try_gpu(name, tmp_path) as is_held:
                assert is_held == is_free
        taken["GPU 0"].end()
        with try_gpu("GPU-0", tmp_path) as is_held:
            assert is_held


def test_a_host_without_room_for_another_process_leaves_it_to_the_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(variables: dict[str, str]) -> Started:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(module, "start_process", fail)
    with EarlyWorkers() as early:
        early.start(interpreters(1), 1, [])
        outcomes = tune_on_host(
            tasks_of({"b1": 0.001}), interpreters(1), HostRun(store, settings.current()), Heard(), early
        )
    assert [outcome.word for outcome in outcomes] == ["sweep"]


def test_kernels_that_can_not_be_loaded_early_are_their_tasks_matter(store: Store, processes: list[Started]) -> None:
    with EarlyWorkers() as early:
        early.start(interpreters(1), 1, ["no such kernel", NAME])
        outcomes = tune_on_host(
            tasks_of({"b1": 0.001}), interpreters(1), HostRun(store, settings.current()), Heard(), early
        )
    assert [outcome.word for outcome in outcomes] == ["sweep"]
    assert len(processes) == 1


@pytest.mark.parametrize("begin_as", [lambda patch: None, start_workers_anew], ids=["forked", "started"])
def test_a_worker_whose_parent_is_gone_ends_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], begin_as: Callable[[pytest.MonkeyPatch], None]
) -> None:
    begin_as(monkeypatch)
    child, events = start_process({"TRITON_INTERPRET": "1"})
    process.tell(child, Prepare((), None))
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(60) == 0
    assert events.get(timeout=60) is None
    assert "Traceback" not in capfd.readouterr().err
