"""What a program keeps: the memory that stays after work was done."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Callable


def growth(work: Callable[[int], object], first: int, count: int) -> int:
    """Return the bytes that stay after `work(n)` was called for that many numbers.

    Nothing is logged meanwhile: pytest keeps records, and those of other tests' timers would count.
    """
    gc.collect()
    level = logging.root.manager.disable
    logging.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(first, first + count):
            work(n)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        logging.disable(level)
