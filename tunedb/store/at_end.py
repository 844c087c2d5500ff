"""The end of a process: what waits for stores is written, within two seconds in all.

A process that runs jobs of an executor takes longer. It first ends these jobs and its child processes, outside the
budget (`fleet.workplace`): at most 4 s for the jobs that still run, and 15 s for each child that hangs.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

from tunedb.store import wait_budget

_functions: list[Callable[[], object]] = []
_armed_in: int | None = None  # the process


def register(function: Callable[[], object]) -> None:
    """Have a function called at the end, those that were registered last first. They share one budget for stores."""
    _functions.append(function)


def arm() -> None:
    """Make sure that the functions are called in a process of `multiprocessing`: it ends without `atexit`.

    Called when there is something to write, as `multiprocessing` forgets what was registered before a fork.
    """
    global _armed_in
    if _armed_in == os.getpid():
        return
    _armed_in = os.getpid()
    process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, end, exitpriority=100)


def end() -> None:
    """Call the functions now, within the caller's budget: for a process that ends without `atexit`."""
    with wait_budget.one_call():
        for function in reversed(_functions):
            function()


atexit.register(end)
