"""Several threads that do the same at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


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
    """Whether it becomes true, on whatever thread; a busy machine may take its time."""
    until = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
