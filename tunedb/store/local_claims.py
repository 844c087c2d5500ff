"""The claims of the local store as a call uses them, next to the problem's lock file.

They matter where the lock file does not reach: to processes of other hosts on one PostgreSQL, and to people who query
the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep
from tunedb.store import wait_budget
from tunedb.store.claim_keeper import ClaimKeeper, Publication, Settled
from tunedb.store.local import whole_of
from tunedb.store.store_thread import Job
from tunedb.store.writer import TRIALS_S, Writer

if TYPE_CHECKING:
    from tunedb.store import Store


class LocalClaims(ClaimKeeper):
    """The claims of a guarded store. A store that is not open yet, busy or broken has none: the lock file is enough.

    `keep` has a finished sweep written without a claim.
    """

    def __init__(self, writer: Writer, keep: Callable[[Sweep], object], *, is_writable: bool) -> None:
        self._writer = writer
        self._keep = keep
        self._is_writable = is_writable
        self._renewal: Job[bool] | None = None

    def take(self, key: ClaimKey, claimant: Claimant, waited: float = 0.0, patience: float = 0.0) -> Claim | None:
        """Take the claim if it is free; None if the store is not open for writing, or takes too long."""
        taken: list[Claim] = []
        self._ask(lambda store: taken.append(whole_of(store).claims.take(key, claimant, waited)), patience)
        return taken[0] if taken else None

    def get(self, key: ClaimKey, patience: float = 0.0) -> Claim | None:
        """Return the claim; None if there is none, or the store takes too long."""
        stored: list[Claim | None] = []
        self._ask(lambda store: stored.append(whole_of(store).claims.get(key)), patience)
        return stored[0] if stored else None

    def renew(self, claim: Claim, lease: float) -> None:
        """Have the lease begin again, in the background."""
        if self._renewal is None or self._renewal.wait(0.0):  # else the last one still waits for a store that is slow
            self._renewal = self._writer.detail(lambda store: whole_of(store).claims.renew(claim, lease), rests=False)

    def end(self, claim: Claim, state: ClaimState) -> None:
        """Have the claim given back, in the background."""
        self._writer.detail(lambda store: whole_of(store).claims.end(claim, state), rests=False)

    def publish(
        self,
        sweep: Sweep,
        claim: Claim | None,
        claimant: Claimant,
        *,
        is_first: bool,  # noqa: ARG002 (a local store takes every sweep of its own processes)
        settled: Settled,
    ) -> Publication:
        """Have the sweep written and its claim given back, both or neither; UNKNOWN if that takes too long for a call.

        Without a claim it is written in any case: this store was not open, or too slow, when the sweep began.
        """
        if claim is None:
            self._keep(sweep)
            settled(Publication.KEPT)
            return Publication.KEPT
        published: list[Publication] = []

        def publish(store: Store) -> Callable[[], object]:
            result = whole_of(store).publish(sweep, claim, claimant, is_first=False)
            published.append(result)
            return lambda: settled(result)

        self._writer.put(sweep, publish)
        self._writer.wait_until_written(sweep.uid)
        return published[-1] if published else Publication.UNKNOWN

    def _ask(self, work: Callable[[Store], object], patience: float = 0.0) -> None:
        # While details rest, the writer's thread may still be busy with a result: a call must not queue behind it.
        if not self._is_writable or not self._writer.store.is_whole or self._writer.rests:
            return
        job = self._writer.detail(work)
        if not (patience and job.wait(patience)) and not wait_budget.current().wait(job, TRIALS_S):
            job.cancel()
            self._writer.rest_details()
