"""The claims of a shared store as a call uses them: asked within the call's budget, renewed in the background."""

from __future__ import annotations

from collections.abc import Callable

from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep
from tunedb.store.claim_keeper import ClaimKeeper, Publication, Settled
from tunedb.store.remote import RemoteAccess


class SharedClaims(ClaimKeeper):
    """The claims of a shared store. One that is away or may only be read has none: it is then as on one host."""

    def __init__(
        self,
        access: RemoteAccess,
        takes_writes: Callable[[], bool],
        load: Callable[[], None],
        deadline: float,
        publish: Callable[..., Publication],
    ) -> None:
        self._access = access
        self._takes_writes = takes_writes
        self._load = load
        self._deadline = deadline
        self._publish = publish

    def take(self, key: ClaimKey, claimant: Claimant, waited: float = 0.0, patience: float = 0.0) -> Claim | None:
        """Take the claim if it is free; None if the store does not answer in time or may not be written."""
        if not self._takes_writes():
            return None
        self._load()
        return self._access.ask(
            lambda store: store.claims.take(key, claimant, waited),
            self._deadline,
            self._takes_writes,
            patience,
        )

    def get(self, key: ClaimKey, patience: float = 0.0) -> Claim | None:
        """Return the claim; None if the store does not answer in time."""
        if not self._takes_writes():
            return None
        self._load()
        return self._access.ask(lambda store: store.claims.get(key), self._deadline, self._takes_writes, patience)

    def renew(self, claim: Claim, lease: float) -> None:
        """Have the lease begin again, in the background."""
        if not self._access.unfinished():  # else the last one still waits for a store that is away
            self._access.submit(lambda store: store.claims.renew(claim, lease), lease / 3, fail=_let_it_be)

    def end(self, claim: Claim, state: ClaimState) -> None:
        """Have the claim given back, in the background."""
        self._access.submit(lambda store: store.claims.end(claim, state), self._deadline, fail=_let_it_be)

    def publish(
        self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool, settled: Settled
    ) -> Publication:
        """Have a finished sweep sent under its claim; UNKNOWN if that takes longer than a call waits."""
        return self._publish(sweep, claim, claimant, is_first=is_first, settled=settled)


def _let_it_be(_: Exception) -> None:
    """Do nothing: the next renewal may come through, and a claim that is not given back passes on with its lease."""
