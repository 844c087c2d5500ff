"""Threads in tests: several that do the same at once, and what tells how late and how slow this machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PERIOD_S = 0.01
PAUSE_S, MAX_PAUSE_S = 0.005, 0.25  # between two questions
BURST_S = 0.2  # of work by which a thread tells how busy this machine is: dozens of turns on a core


def errors_at_once(count: int, call: Callable[[int], object]) -> list[BaseException]:
    """What the calls raise, each on a thread of its own, given its number; whatever it is, the test must see it."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            call(number)
        except BaseException as error:  # an error that stayed on its thread would be lost
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def eventually(is_true: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether it becomes true, on whatever thread; a busy machine may take its time.

    A question that takes long is asked less often: what is waited for needs the core.
    """
    until = time.monotonic() + seconds
    while True:
        begun = time.monotonic()
        if is_true():
            return True
        now = time.monotonic()
        if now > until:
            return False
        time.sleep(min(max(PAUSE_S, 4 * (now - begun)), MAX_PAUSE_S))


@contextmanager
def lateness() -> Iterator[Callable[[], float]]:
    """Tell how late a thread that only slept woke up so far: on a quiet machine milliseconds, on a busy one seconds."""
    worst, done = [0.0], threading.Event()

    def sleep() -> None:
        begun = time.monotonic()
        while not done.wait(PERIOD_S):
            now = time.monotonic()
            worst[0] = max(worst[0], now - begun - PERIOD_S)
            begun = now

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    try:
        yield lambda: worst[0]
    finally:
        done.set()
        thread.join()


def slowness() -> float:
    """Tell how many times as long as on a quiet machine work takes here at the moment; 1.0 on a quiet one."""
    begun, worked = time.monotonic(), time.thread_time()
    while (work := time.thread_time() - worked) < BURST_S:
        pass
    return max(1.0, (time.monotonic() - begun) / work)
