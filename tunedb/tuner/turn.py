"""The turn to sweep a problem: its lock file among the processes of a host, and its claim among all of a store."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tunedb._internal.timer import RearmingTimer
from tunedb.core.claim import LEASE_S, Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep, SweepStatus, Trial
from tunedb.core.task import TuningTask
from tunedb.store.claim_keeper import ClaimKeeper, Publication
from tunedb.store.interface import SweepStore
from tunedb.tuner.claim_end import state_after, state_after_error
from tunedb.tuner.claimant import claimant
from tunedb.tuner.claimant import new_owner as new_owner
from tunedb.tuner.problem_lock import ProblemLock, lock_problem

FIRST_POLL_S = 0.05  # between two looks at another process's claim, at first
MAX_POLL_S = 1.0  # later: a look is a query, and many processes may wait
RENEWALS = 3  # of a lease in its time

_log = logging.getLogger("tunedb")


class SweepTurn:
    """A task's turn, while its lock is held: `take` claims it, and as a recorder it publishes the claimed sweep.

    `on_late` is called if it becomes known only after the turn that another process's sweep may serve.
    """

    def __init__(
        self,
        task: TuningTask,
        store: SweepStore,
        lock: ProblemLock,
        who: Claimant,
        *,
        began: float,
        waited: float,
        patience: float,
        on_late: Callable[[], object],
        is_supervised: bool = False,
    ) -> None:
        self.lock = lock
        self.is_overtaken = False
        self.is_unclaimed = False  # published to a store that was away when the sweep began: another's may rank before
        self.is_claimed_elsewhere = not lock.held
        self.has_failed_elsewhere = False
        self._identity = (task.problem, task.device, task.kernel.hash)
        self._key = ClaimKey(*self._identity)
        self._store = store
        self._who = who
        self._began = began - waited
        self._patience = patience
        self._deadline = began + patience
        self._on_late = on_late
        self._keepers: Sequence[ClaimKeeper] = ()
        self._keeper: ClaimKeeper | None = None
        self._claim: Claim | None = None
        self._is_first = False
        self._is_supervised = is_supervised
        self.end_state: ClaimState | None = ClaimState.RELEASED  # of the claim; None: another process ends it
        self._timer = RearmingTimer(who.lease / RENEWALS, self._renew)
        self._guard = threading.Lock()
        self._published: Publication | None = None  # what became of the sweep, once it is known
        self._is_kept = False  # the sweep is in the local store, as it ended, or on its way there
        self._published_at_home: Publication | None = None  # the same of the local store
        self._is_home_late = False

    def take(self, is_settled: Callable[[], bool], *, is_first: bool) -> bool:
        """Claim the task; return False if another process has it for longer than we wait, or no sweep is needed.

        If the store is away, the lock file alone decides. `is_settled` looks again whether another process has tuned
        the task, as what was looked at before may be older than another's claim. `is_first` says that nothing is
        stored that the sweep is to replace.
        """
        if not self.lock.held:
            return False
        self._keepers, self._is_first = self._store.claim_keepers, is_first
        if self._is_settled(is_settled):  # a process that only comes late claims nothing
            return False
        for keeper in self._keepers:
            claim = self._wait_for(keeper, is_settled)
            if claim is None:
                continue
            if claim.is_ours:
                self._keeper, self._claim = keeper, claim
                self._timer.arm()
                # Another process may have published its sweep, and given the claim back, since we looked.
                return claim.attempt == 1 or not self._is_settled(is_settled)
            self._store.refresh(*self._identity)
            self.has_failed_elsewhere = claim.state == ClaimState.FAILED
            self.is_claimed_elsewhere = claim.state == ClaimState.HELD
            return False
        return True

    def end(self) -> None:
        """Give the claim back, unless the sweep has been published under it, or is being, or goes on elsewhere."""
        if self._claim is None or self._keeper is None:
            return
        if self.end_state is None:
            self._timer.close()
            return
        is_left = self.is_overtaken and self._keeper is self._keepers[-1]  # another keeper's answer ended the sweep
        if not self._is_kept or is_left:
            self._timer.close()
            self._keeper.end(self._claim, self.end_state)

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep."""
        self._store.start_sweep(sweep)

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of the running sweep."""
        self._store.put_trial(sweep_uid, trial)

    def finish_sweep(self, sweep: Sweep) -> None:
        """Publish a sweep that has a winner, unless another process has taken over; then keep it in the local store.

        One that was overtaken is kept as aborted, with its trials: as a winner it could beat, here alone, the one that
        all other hosts use.
        """
        if not sweep.leaves_its_store:
            self.end_state = state_after(sweep, is_supervised=self._is_supervised)
            self._store.finish_sweep(sweep)
            return
        try:
            for keeper in self._keepers[:-1]:
                claim = self._claim if keeper is self._keeper else None
                kept = keeper.publish(
                    sweep, claim, self._who, is_first=self._is_first, settled=partial(self._settle, sweep, claim)
                )
                self.is_unclaimed |= claim is None and kept == Publication.KEPT
        # Raised again: an interrupt, while a sweep is sent that is done. It must not be lost.
        except BaseException:
            self._keep(sweep)
            raise
        self._keep(sweep)

    def _keep(self, sweep: Sweep) -> None:
        with self._guard:
            overtaken = self._published == Publication.OVERTAKEN
            self._is_kept = True
        if not overtaken and self._keepers:
            home = self._keepers[-1]
            claim = self._claim if home is self._keeper else None
            settled = partial(self._settle_at_home, sweep)
            result = home.publish(sweep, claim, self._who, is_first=False, settled=settled)
            with self._guard:
                result = self._published_at_home or result
                self._is_home_late = result == Publication.UNKNOWN
            overtaken = result == Publication.OVERTAKEN
            if claim is not None:
                self._timer.close()
        elif not overtaken:
            self._store.finish_sweep(sweep)
        if overtaken:
            self.is_overtaken = True
            self._abort(sweep)

    def _abort(self, sweep: Sweep) -> None:
        aborted = {"status": SweepStatus.ABORTED, "complete": False, "config": None, "time_us": None}
        self._store.finish_sweep(dataclasses.replace(sweep, **aborted, default_time_us=None))  # type: ignore[arg-type]

    def _settle_at_home(self, sweep: Sweep, result: Publication) -> None:
        """Hear what became of the sweep in the local store, which may be slow, on any thread."""
        with self._guard:
            self._published_at_home = result
            is_late = self._is_home_late
        if is_late and result == Publication.OVERTAKEN:
            self._say_overtaken(sweep)
            self._abort(sweep)
            self.look_again()
            self._on_late()

    def _settle(self, sweep: Sweep, claim: Claim | None, result: Publication) -> None:
        """Hear what became of the sweep in the shared store, on any thread and at any time."""
        with self._guard:
            self._published = result
            is_late = self._is_kept
        self._timer.close()
        if not is_late:
            return
        if result == Publication.OVERTAKEN:
            self._say_overtaken(sweep)
            self._store.withdraw(sweep.uid, "another process had tuned it as well")
        elif result != Publication.KEPT or claim is not None:
            return
        self._store.refresh(*self._identity)
        self._on_late()

    def _say_overtaken(self, sweep: Sweep) -> None:
        _log.warning(
            "%s (%s): another process tuned it as well before this sweep arrived; the other's result serves.",
            sweep.problem.kernel, sweep.problem,
        )  # fmt: skip

    def wait_for_the_other(self) -> None:
        """Wait, as long as for a lock, until no other process holds the claim: its sweep is then stored."""
        self._deadline = time.monotonic() + self._patience
        for keeper in self._keepers[:1]:
            poll = FIRST_POLL_S
            claim = keeper.get(self._key)
            while claim is not None and claim.state == ClaimState.HELD and claim.age <= 0 and self._left() > 0:
                poll = self._sleep(poll)
                claim = keeper.get(self._key, poll)
        self._store.refresh(*self._identity)

    def look_again(self) -> None:
        """Have the task's stored sweeps read again when they are next asked for."""
        self._store.refresh(*self._identity)

    def _wait_for(self, keeper: ClaimKeeper, is_settled: Callable[[], bool]) -> Claim | None:
        """Return our claim, or another's that we need not or can't wait for; None if this store can't be asked.

        Only one of the waiting processes takes a claim that is free again: the others find its published sweep.
        """
        claim, poll = keeper.take(self._key, self._who, self._waited()), FIRST_POLL_S
        while claim is not None and not claim.is_ours and self._left() > 0:
            if claim.state == ClaimState.FAILED:
                return claim
            if claim.state == ClaimState.RELEASED or claim.age > 0:
                if self._is_settled(is_settled):
                    return dataclasses.replace(claim, state=ClaimState.RELEASED)
                claim = keeper.take(self._key, self._who, self._waited())
            else:
                poll = self._sleep(poll)
                claim = keeper.get(self._key, poll)
        return claim

    def _is_settled(self, is_settled: Callable[[], bool]) -> bool:
        self._store.refresh(*self._identity)
        return is_settled()

    def _waited(self) -> float:
        return time.monotonic() - self._began

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _sleep(self, seconds: float) -> float:
        """Wait before the next look at a claim; return how long to wait before the one after it."""
        time.sleep(max(0.0, min(seconds, self._left())))
        return min(1.5 * seconds, MAX_POLL_S)

    def _renew(self) -> bool:
        claim, keeper = self._claim, self._keeper
        if claim is None or keeper is None:
            return False
        keeper.renew(claim, self._who.lease)
        return True


@contextlib.contextmanager
def sweep_turn(
    task: TuningTask,
    store: SweepStore,
    folder: Path,
    *,
    owner: str,
    lease: float = LEASE_S,
    patience: float,
    waited: float = 0.0,
    is_known: Callable[[], bool] = lambda: False,
    on_late: Callable[[], object] = lambda: None,
    is_supervised: bool = False,
) -> Iterator[SweepTurn]:
    """Hold a task's lock, if it is free within `patience` seconds, and at the end give back what was claimed.

    The claim has a lease of `lease` seconds, which is renewed. The task has been waited for since `waited` seconds
    before: a sweep that failed elsewhere in that time is not tried again. `is_supervised` says that another process
    ends the claim of a sweep that costs this one its device. See `lock_problem` for the others.
    """
    began = time.monotonic()
    with lock_problem(folder, task.problem, task.device, patience, is_known) as lock:
        who = claimant(owner, lock.identity, lease)
        turn = SweepTurn(
            task, store, lock, who, began=began, waited=waited, patience=patience, on_late=on_late,
            is_supervised=is_supervised,
        )  # fmt: skip
        try:
            yield turn
        # Raised again. Whether those who wait would meet it too is for the claim to say.
        except BaseException as error:
            turn.end_state = state_after_error(error)
            raise
        finally:
            turn.end()
