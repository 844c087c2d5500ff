"""Keepers of claims, as a sweep uses them: where a problem is claimed, and its sweep published under the claim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep


class Publication(Enum):
    """What became of a finished sweep that its process wanted to publish."""

    KEPT = "kept"
    OVERTAKEN = "overtaken"  # another process has claimed the problem since, or published it: nothing was kept
    UNKNOWN = "unknown"  # the store is away or late; or, of a sweep that is sent later, another process holds the claim


Settled = Callable[[Publication], object]


class ClaimKeeper(ABC):
    """A store that keeps claims. One that a call uses raises nothing, and waits within the call's budget."""

    @abstractmethod
    def take(self, key: ClaimKey, claimant: Claimant, waited: float = 0.0, patience: float = 0.0) -> Claim | None:
        """Take the claim if it is free, and return it, ours or another's; None if this store can't be asked.

        `waited` is for how many seconds the claimant has waited for the sweep of another process: one that failed in
        that time is not tried again. `patience` are seconds of waiting that are not the store's fault: the claimant
        would have waited for the other process anyway.
        """

    @abstractmethod
    def get(self, key: ClaimKey, patience: float = 0.0) -> Claim | None:
        """Return the claim as it is; None if there is none, or this store can't be asked."""

    @abstractmethod
    def renew(self, claim: Claim, lease: float) -> None:
        """Begin the lease again, if it is still ours. Does not wait for a store that may fail."""

    @abstractmethod
    def end(self, claim: Claim, state: ClaimState) -> None:
        """Give the claim back, if it is still ours. Does not wait for a store that may fail."""

    @abstractmethod
    def publish(
        self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool, settled: Settled
    ) -> Publication:
        """Keep a finished sweep, and give back its claim with it.

        A sweep that has no claim, as this store was away when it began, yields to another's that was published since
        then, and if it `is_first`, if nothing was stored then, to any other. `settled` hears what became of it, also if
        that is known only later.
        """
