"""The order of many problems: the longest first."""

from __future__ import annotations

from datetime import timedelta

from tests.fleet.conftest import tasks_of
from tests.store.samples import NOON, sweep
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.sweep import Sweep
from tunedb.core.task import TuningTask
from tunedb.fleet.order import expected_seconds, longest_first
from tunedb.store import Store

SMALL, LARGE = tasks_of({"b1": 1.0}, {"b1": 1.0, "b2": 1.0, "b4": 1.0})
OTHER = Device("another GPU", "cuda", "sm_1", 1)


def swept(task: TuningTask, seconds: float, after: int = 0, device: Device = INTERPRETER) -> Sweep:
    """A sweep of that task which took so long, and began so many seconds after noon."""
    started = NOON + timedelta(seconds=after)
    return sweep(
        problem=task.problem, device=device, kernel_hash=task.kernel.hash, started=started,
        finished=started + timedelta(seconds=seconds),
    )  # fmt: skip


def seconds_of(store: Store, *tasks: TuningTask) -> list[float]:
    """How long the tasks are expected to take."""
    expected = expected_seconds(tasks, store)
    return [round(expected[task.key], 6) for task in tasks]


def test_without_former_sweeps_more_configs_take_longer(store: Store) -> None:
    assert seconds_of(store, SMALL, LARGE) == [0.3, 0.9]
    assert longest_first([SMALL, LARGE], expected_seconds([SMALL, LARGE], store)) == [LARGE, SMALL]


def test_the_last_sweep_on_the_device_says_how_long_the_next_one_takes(store: Store) -> None:
    store.put_sweeps([swept(SMALL, 90.0), swept(SMALL, 40.0, after=100), swept(SMALL, 7.0, after=200, device=OTHER)])
    assert seconds_of(store, SMALL)[0] == 40.0


def test_a_problem_that_was_never_swept_takes_as_long_a_config_as_others_of_its_kernel(store: Store) -> None:
    store.put_sweeps([swept(SMALL, 10.0)])
    assert seconds_of(store, LARGE) == [10.0]  # of three configs, as the sweep of the small one has three trials


def test_equal_problems_stay_in_their_order() -> None:
    seconds = {SMALL.key: 1.0, LARGE.key: 1.0}
    assert longest_first([LARGE, SMALL], seconds) == [LARGE, SMALL]
