"""The queue of one run's problems: taken in order, passed over, looked at again, given back."""

from __future__ import annotations

import threading

from tests.fleet.conftest import tasks_of
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.task import TuningTask
from tunedb.fleet.queue import LOOK_AGAIN_S, TaskQueue

HERE = INTERPRETER.digest
FIRST, SECOND, THIRD = tasks_of({"b1": 1.0}, {"b1": 2.0}, {"b1": 3.0})
OTHER = Device("another GPU", "cuda", "sm_1", 1)


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_tasks_are_taken_in_order_and_each_once() -> None:
    tasks = TaskQueue([FIRST, SECOND], 60)
    assert [tasks.take(HERE), tasks.take(HERE)] == [FIRST, SECOND]
    tasks.done(FIRST)
    tasks.done(SECOND)
    assert tasks.take(HERE) is None


def test_a_slot_takes_only_tasks_of_its_device() -> None:
    elsewhere = TuningTask(FIRST.kernel, FIRST.problem, Placement(OTHER, 1))
    tasks = TaskQueue([elsewhere, FIRST], 60)
    assert tasks.take(HERE) == FIRST
    tasks.done(FIRST)
    assert tasks.take(HERE) is None
    assert tasks.take(OTHER.digest) == elsewhere


def test_a_task_that_somebody_has_is_none_that_is_there_to_take() -> None:
    tasks = TaskQueue([FIRST, SECOND], 60)
    assert tasks.has(HERE)
    assert not tasks.has(OTHER.digest)
    tasks.take(HERE)
    assert tasks.has(HERE)
    tasks.take(HERE)
    assert not tasks.has(HERE)
    tasks.pass_over(FIRST)
    assert not tasks.has(HERE)  # it is tuned elsewhere
    tasks.give_back(SECOND)
    assert tasks.has(HERE)


def test_what_is_tuned_elsewhere_is_looked_at_again_when_no_other_is_left() -> None:
    clock = Clock()
    tasks = TaskQueue([FIRST, SECOND], 60, clock)
    assert tasks.take(HERE) == FIRST
    assert tasks.pass_over(FIRST)
    clock.now += LOOK_AGAIN_S
    assert not tasks.was_passed_over(SECOND)
    assert tasks.take(HERE) == SECOND  # although the first one's time has come
    tasks.done(SECOND)
    assert tasks.take(HERE) == FIRST
    assert tasks.was_passed_over(FIRST)


def test_the_wait_for_what_is_tuned_elsewhere_ends_once_nothing_was_done_for_the_patience() -> None:
    clock = Clock()
    tasks = TaskQueue([FIRST, SECOND], 60, clock)
    tasks.take(HERE), tasks.take(HERE)
    assert tasks.pass_over(FIRST)
    clock.now = 50.0
    tasks.done(SECOND)
    for moment in (100.0, 110.0):
        clock.now = moment
        assert tasks.take(HERE) == FIRST
        assert tasks.pass_over(FIRST)  # the second one was done not long ago
    clock.now = 110.6
    assert tasks.take(HERE) == FIRST
    assert not tasks.pass_over(FIRST)
    tasks.done(FIRST)
    assert tasks.take(HERE) is None


def test_the_wait_ends_although_tasks_wait_for_a_device_that_no_slot_has() -> None:
    clock = Clock()
    tasks = TaskQueue([TuningTask(SECOND.kernel, SECOND.problem, Placement(OTHER, 1)), FIRST], 60, clock)
    assert tasks.take(HERE) == FIRST
    assert tasks.pass_over(FIRST)
    clock.now = 61.0
    assert tasks.take(HERE) == FIRST
    assert not tasks.pass_over(FIRST)


def test_the_wait_goes_on_while_tasks_wait_for_the_same_device() -> None:
    clock = Clock()
    tasks = TaskQueue([FIRST, SECOND], 60, clock)
    assert tasks.take(HERE) == FIRST
    clock.now = 61.0
    assert tasks.pass_over(FIRST)


def test_no_wait_ends_while_another_slot_still_tunes() -> None:
    clock = Clock()
    tasks = TaskQueue([FIRST, SECOND], 60, clock)
    tasks.take(HERE), tasks.take(HERE)
    clock.now = 1000.0
    assert tasks.pass_over(FIRST)


def test_a_task_that_is_given_back_is_the_next_one_also_for_a_slot_that_waits() -> None:
    tasks = TaskQueue([FIRST], 60)
    tasks.take(HERE)
    taken: list[TuningTask | None] = []
    waiting = threading.Thread(target=lambda: taken.append(tasks.take(HERE)))
    waiting.start()
    tasks.give_back(FIRST)
    waiting.join(60)
    assert taken == [FIRST]


def test_a_closed_queue_ends_every_wait() -> None:
    tasks = TaskQueue([FIRST, SECOND, THIRD], 60)
    for _ in range(3):
        tasks.take(HERE)
    tasks.pass_over(THIRD)
    taken: list[TuningTask | None] = []
    waiting = [threading.Thread(target=lambda: taken.append(tasks.take(OTHER.digest))) for _ in range(2)]
    for thread in waiting:
        thread.start()
    tasks.close()
    for thread in waiting:
        thread.join(60)
    assert taken == [None, None]
    assert tasks.take(HERE) is None


def test_a_task_has_been_waited_for_since_the_first_look_that_passed_it_over() -> None:
    clock = Clock()
    tasks = TaskQueue([FIRST, SECOND], 60, clock)
    clock.now = 5.0
    tasks.take(HERE)
    assert tasks.waited(FIRST) == 0.0
    clock.now = 7.0  # the look itself took two seconds
    tasks.pass_over(FIRST)
    clock.now = 8.0
    assert tasks.take(HERE) == SECOND
    assert tasks.take(HERE) == FIRST
    tasks.pass_over(FIRST)
    clock.now = 9.0
    assert (tasks.waited(FIRST), tasks.waited(SECOND)) == (4.0, 0.0)


def test_the_tasks_of_a_device_without_a_slot_are_taken_off() -> None:
    elsewhere = TuningTask(FIRST.kernel, FIRST.problem, Placement(OTHER, 1))
    tasks = TaskQueue([elsewhere, FIRST, SECOND], 60)
    assert tasks.take(HERE) == FIRST
    tasks.pass_over(FIRST)
    assert tasks.remove(HERE) == [SECOND, FIRST]
    assert tasks.take(HERE) is None
    assert tasks.take(OTHER.digest) == elsewhere
