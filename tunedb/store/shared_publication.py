"""A finished sweep on its way to a shared store: published in time for the call that made it, or later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb.core.claim import Claim, Claimant
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreReadOnly
from tunedb.store.claim_keeper import Publication, Settled

if TYPE_CHECKING:
    from tunedb.store import Store


class SharedPublication:
    """The publication of one sweep. `settled` hears what became of it; see `ClaimKeeper.publish`.

    A call that still waits yields to another process that holds the claim, and waits for its result. Later the sweep
    yields only to one that is stored: the other process may fail. `may_claim` says whether the role has the rights on
    claims, and `refuse_claims` hears that it has not.
    """

    def __init__(
        self,
        sweep: Sweep,
        claim: Claim | None,
        claimant: Claimant,
        *,
        is_first: bool,
        settled: Settled,
        may_claim: Callable[[], bool],
        refuse_claims: Callable[[Exception], object],
    ) -> None:
        self._sweep = sweep
        self._claim = claim
        self._claimant = claimant
        self._is_first = is_first
        self._settled = settled
        self._may_claim = may_claim
        self._refuse_claims = refuse_claims
        self._guard = threading.Lock()
        self._is_late = False  # the call has gone on without the result
        self._result = Publication.UNKNOWN

    def send(self, store: Store) -> bool:
        """Publish the sweep; return False if it is to be sent again, as another process holds the claim."""
        result = self._publish(store)
        if result == Publication.UNKNOWN:
            return False
        if not self._tell_in_time(result):
            self._result = result
            self._settled(result)
        return True

    def leave(self) -> Publication:
        """Return what is known, as the call goes on now; what becomes known later must hold for a sweep in use."""
        with self._guard:
            self._is_late = True
            return self._result

    def report(self) -> None:
        """Tell that nothing is known for now, if that is so."""
        if self._result == Publication.UNKNOWN:
            self._settled(Publication.UNKNOWN)

    def _publish(self, store: Store) -> Publication:
        if self._may_claim():
            try:
                return self._publish_claimed(store)
            except StoreReadOnly as error:  # of the claim, or of the sweep: that shows below
                if error.is_temporary:
                    raise
                self._refuse_claims(error)
        store.put_sweep(self._sweep)
        return Publication.KEPT

    def _publish_claimed(self, store: Store) -> Publication:
        if not self._is_late:
            result = store.publish(self._sweep, self._claim, self._claimant, is_first=self._is_first)
            if result == Publication.KEPT or self._tell_in_time(result):
                return result
        return store.publish_late(self._sweep, self._claim, self._claimant, is_first=self._is_first)

    def _tell_in_time(self, result: Publication) -> bool:
        """Tell the result while the call waits for it; return False if the call has gone on."""
        with self._guard:
            if self._result == Publication.UNKNOWN:
                if self._is_late:
                    return False
                self._result = result
                self._settled(result)
            return True
