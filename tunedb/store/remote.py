"""Accesses to a shared store: on a thread of their own, tried again for a while, and given up if they hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal.control import let_pass
from tunedb.errors import StoreReadOnly, StoreUnavailable
from tunedb.store import wait_budget
from tunedb.store.reopening import ReopeningStore
from tunedb.store.sql.in_flight import give_up
from tunedb.store.store_thread import Job, StoreThread

if TYPE_CHECKING:
    from tunedb.store import Store

AGAIN_S = 0.05  # between two tries of an access whose connection was cut or refused: a server that restarts

_T = TypeVar("_T")


class RemoteAccess:
    """A thread and a store, opened by `opener`, that serve one kind of access.

    `fail` hears of an access that failed for good, with its error, or was given up, with None.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Store],
        fail: Callable[[Exception | None], object],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = ReopeningStore(opener)
        self._thread = StoreThread(name, monotonic)
        self._fail = fail
        self._runs_on: int | None = None  # the thread of the present access

    def submit(
        self,
        work: Callable[[Store], _T],
        again_s: float,
        is_wanted: Callable[[], bool] = lambda: True,
        settled: Callable[[], object] = lambda: None,
        fail: Callable[[Exception], object] | None = None,
    ) -> Job[_T | None]:
        """Have an access done after those before it; it is tried again for `again_s` seconds if it fails.

        Its value is None if it failed, or is not wanted any more when its turn comes. `settled` is called at its end,
        and `fail`, if it is given, instead of the one that hears of all others' failures.
        """

        def run() -> _T | None:
            try:
                return self._try(work, again_s, is_wanted, fail or self._fail)
            finally:
                settled()

        return self._thread.submit(run)

    def ask(
        self, work: Callable[[Store], _T], most: float, is_wanted: Callable[[], bool], patience: float = 0.0
    ) -> _T | None:
        """Return what an access returns; None if it fails, or gives no answer within `most` seconds of the budget.

        The first `patience` seconds of waiting are not the store's fault, and take nothing of the budget.
        """
        job = self.submit(work, most, is_wanted)
        if not (patience and job.wait(patience)) and not wait_budget.current().wait(job, most):
            job.cancel()
            if self._thread.busy_s() >= 0.9 * most:  # else the budget was spent, or it was behind others
                self.give_up()
                self._fail(None)
        return job.value

    def give_up(self) -> None:
        """End the present access: it may never end by itself."""
        if self._runs_on is not None:
            give_up(self._runs_on)

    def runs_here(self) -> bool:
        """Say whether the caller is the thread, not one that does its work because it could not be started."""
        return self._thread.runs_here()

    def unfinished(self) -> int:
        """Return how many accesses are not done."""
        return self._thread.unfinished()

    def flush(self) -> None:
        """Wait within the call's budget for all accesses."""
        if self._thread.unfinished():
            wait_budget.current().wait(self._thread.submit(lambda: None))

    def _try(
        self,
        work: Callable[[Store], _T],
        again_s: float,
        is_wanted: Callable[[], bool],
        fail: Callable[[Exception], object],
    ) -> _T | None:
        began = time.monotonic()
        self._runs_on = threading.get_ident()
        try:
            while is_wanted():
                try:
                    return self._store.run(work, again=False)
                except StoreUnavailable as error:
                    if isinstance(error, StoreReadOnly) or time.monotonic() - began + AGAIN_S >= again_s:
                        fail(error)
                        return None
                time.sleep(AGAIN_S)
        except Exception as error:  # a store failure never reaches the caller of a kernel
            let_pass(error)
            fail(error)
        finally:
            self._runs_on = None
        return None
