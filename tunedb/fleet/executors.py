"""Runs jobs on any executor of the kind that `concurrent.futures` has, and stores their results as they arrive."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tunedb._internal.control import let_pass
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError
from tunedb.fleet.job import request_of, run_job
from tunedb.fleet.known import known_sweeps, sweeps_in
from tunedb.fleet.result import WarmResult
from tunedb.fleet.task_run import BUSY, LOST
from tunedb.fleet.versions import kernel_fact
from tunedb.fleet.workplace import interrupt_jobs

if TYPE_CHECKING:
    from tunedb.store import Store

POLL_S = 0.2  # between two looks at jobs that don't report their end, such as submitit's

Job = tuple[Problem, Mapping[str, Any] | None]  # with the arguments that it was made of, if they are known
_log = logging.getLogger("tunedb")


class SubmitsJobs(Protocol):
    """An executor: of concurrent.futures, Dask, mpi4py.futures, loky or submitit."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Start a job, and return its future."""


def run_on_executor(
    jobs: Sequence[Job],
    executor: SubmitsJobs,
    store: Store,
    facts: Mapping[str, str],
    *,
    force: bool,
    step: float,
    at_a_time: int | None = None,
) -> Generator[WarmResult, None, None]:
    """Yield the result of each job as it arrives; its sweep is stored by then.

    `facts`: see `versions`. `at_a_time`: how many jobs the executor is given at once; None: all.
    A problem that is tuned elsewhere is passed over, and given to the executor again after the others. A job whose
    future fails is `lost`, and so are all others once the executor takes no more. If the store fails, the results that
    it did not take are tried again at the end, which raises StoreError.
    """
    futures = _Futures()
    unstored: list[Sweep] = []
    waiting = list(enumerate(jobs))
    begun: dict[int, float] = {}
    passed_over: set[int] = set()
    running = 0
    try:
        while waiting or running:
            while waiting and (at_a_time is None or running < at_a_time):
                number, (problem, arguments) = waiting.pop(0)
                known = "" if force else known_sweeps(store, problem, facts[kernel_fact(problem.kernel)])
                waited = time.monotonic() - begun.setdefault(number, time.monotonic())
                request = request_of(
                    problem, arguments, facts, known=known, force=force, step=step,
                    waited=waited if number in passed_over else None,
                )  # fmt: skip
                try:
                    future = executor.submit(run_job, request)
                # An engine may raise anything if its workers are gone or it was shut down.
                except Exception as error:
                    let_pass(error)
                    yield WarmResult(problem, LOST, error=f"{type(error).__name__}: {error}")
                    continue
                futures.add(number, future)
                running += 1
            if running:
                number, future = futures.next_done()
                running -= 1
                result = _result(jobs[number][0], future)
                if result.outcome == BUSY and number not in passed_over:
                    passed_over.add(number)
                    waiting.append((number, jobs[number]))
                    continue
                yield _stored(result, store, unstored)
    # Raised again. An interrupt too must leave no job behind on the executor, and no result unstored.
    except BaseException:
        futures.cancel()
        with suppress(StoreError):  # what ended the run is raised
            store.put_sweeps(unstored)
        raise
    store.put_sweeps(unstored)


class _Futures:
    """Futures that are waited for all at once, of whatever engine."""

    def __init__(self) -> None:
        self._open: dict[int, Any] = {}
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def add(self, number: int, future: Any) -> None:
        """Wait for this one too."""
        self._open[number] = future
        if isinstance(future, Future):
            future.add_done_callback(partial(self._note, number))

    def _note(self, number: int, _: object) -> None:
        self._done.put(number)

    def next_done(self) -> tuple[int, Any]:
        """Return the next one that is done, and its number."""
        while True:
            quiet = [(number, future) for number, future in self._open.items() if not isinstance(future, Future)]
            for number, future in quiet:
                if future.done():
                    return number, self._open.pop(number)
            try:
                number = self._done.get(timeout=POLL_S if quiet else None)
            except queue.Empty:
                continue
            return number, self._open.pop(number)

    def cancel(self) -> None:
        """Drop those that have not begun, and end those that run in this process."""
        for future in self._open.values():
            future.cancel()
        interrupt_jobs()


def _result(problem: Problem, future: Any) -> WarmResult:
    """Return what a future brings. Raises nothing that the worker or the engine raised."""
    try:
        answer = future.result()
        sweeps = sweeps_in(answer["sweeps"], problem)
        return WarmResult(problem, answer["outcome"], next(iter(sweeps), None), answer["worker"], answer["error"])
    # Cancelled, the worker died, the answer can't be read: an engine has errors of its own, some of them no Exception.
    except BaseException as error:
        let_pass(error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return WarmResult(problem, LOST, error=f"{type(error).__name__}: {error}")


def _stored(result: WarmResult, store: Store, unstored: list[Sweep]) -> WarmResult:
    """Store the sweep of a result; one that is there already stays as it is."""
    if result.sweep is not None:
        try:
            store.put_sweeps([result.sweep])
        except StoreError as error:
            _log.error("The sweep of %s (%s) is not stored yet. %s", result.problem.kernel, result.problem, str(error))
            unstored.append(result.sweep)
    return result
