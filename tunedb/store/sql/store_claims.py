"""The claims of a store that a command has opened: they answer at once, and a failure of the store ends the command."""

from __future__ import annotations

from typing import Protocol

from tunedb._internal.control import suppress
from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError
from tunedb.store.claim_keeper import ClaimKeeper, Publication, Settled
from tunedb.store.sql.claims import Claims


class Publish(Protocol):
    """The store's function that keeps a finished sweep under its claim."""

    def __call__(self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool) -> Publication:
        """Keep it, unless another process was first."""


class StoreClaims(ClaimKeeper):
    """The claims of one store, whose errors are raised but for those of a lease, which runs out by itself."""

    def __init__(self, claims: Claims, publish: Publish) -> None:
        self._claims = claims
        self._publish = publish

    def take(self, key: ClaimKey, claimant: Claimant, waited: float = 0.0, patience: float = 0.0) -> Claim | None:  # noqa: ARG002 (it answers at once)
        """Take the claim if it is free."""
        return self._claims.take(key, claimant, waited)

    def get(self, key: ClaimKey, patience: float = 0.0) -> Claim | None:  # noqa: ARG002 (it answers at once)
        """Return the claim as it is."""
        return self._claims.get(key)

    def renew(self, claim: Claim, lease: float) -> None:
        """Begin the lease again. Runs on a timer's thread, and a failure now is not worth the sweep."""
        with suppress(StoreError):
            self._claims.renew(claim, lease)

    def end(self, claim: Claim, state: ClaimState) -> None:
        """Give the claim back; if that fails, its lease runs out."""
        with suppress(StoreError):
            self._claims.end(claim, state)

    def publish(
        self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool, settled: Settled
    ) -> Publication:
        """Keep a finished sweep under its claim."""
        kept = self._publish(sweep, claim, claimant, is_first=is_first)
        settled(kept)
        return kept
