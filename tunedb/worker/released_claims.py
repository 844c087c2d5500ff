"""Claims of a worker that has ended: given back for it, so that others need not wait for the end of their leases."""

from __future__ import annotations

import contextlib

from tunedb.core.claim import ClaimState
from tunedb.errors import StoreError
from tunedb.store import Store

MAX_WAIT_S = 3.0  # for a shared store that another process keeps busy; by judgement


def give_back_claims(owner: str, store: Store, shared: str | None, state: ClaimState) -> None:
    """Give back all that the owner has claimed in a store and in the shared store of that URL, as far as possible."""
    from tunedb.store import open_store

    with contextlib.suppress(StoreError):  # then their leases run out
        store.claims.give_back(owner, state)
    if shared is None:
        return
    with contextlib.suppress(StoreError):
        opened = open_store(shared, busy_timeout=MAX_WAIT_S, migrate=False, create=False)
        if opened is not None:
            with opened:
                opened.claims.give_back(owner, state)
