"""Where sweeps are kept: in a SQLite file, or in a PostgreSQL database that machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb._internal.lazy import lazy

if TYPE_CHECKING:
    from tunedb.store.garbage import garbage as garbage
    from tunedb.store.ranking import Source as Source
    from tunedb.store.ranking import has_failed as has_failed
    from tunedb.store.ranking import obstacle as obstacle
    from tunedb.store.ranking import ranked as ranked
    from tunedb.store.ranking import strength as strength
    from tunedb.store.ranking import winner as winner
    from tunedb.store.ranking import winners as winners
    from tunedb.store.schema import check as check
    from tunedb.store.schema import current as current
    from tunedb.store.schema import upgrade as upgrade
    from tunedb.store.store import Store as Store
    from tunedb.store.store import open_store as open_store
    from tunedb.store.transfer import Loaded as Loaded
    from tunedb.store.transfer import Rejected as Rejected
    from tunedb.store.transfer import dump as dump
    from tunedb.store.transfer import load as load
    from tunedb.store.transfer import opened_for_writing as opened_for_writing
    from tunedb.store.union import Received as Received
    from tunedb.store.union import receive as receive
    from tunedb.store.upkeep import Totals as Totals

# Loaded at first use: ranking and the guards need no SQLAlchemy.
_LAZY = {
    "Loaded": "tunedb.store.transfer",
    "Received": "tunedb.store.union",
    "Rejected": "tunedb.store.transfer",
    "Source": "tunedb.store.ranking",
    "Store": "tunedb.store.store",
    "Totals": "tunedb.store.upkeep",
    "check": "tunedb.store.schema",
    "current": "tunedb.store.schema",
    "dump": "tunedb.store.transfer",
    "garbage": "tunedb.store.garbage",
    "has_failed": "tunedb.store.ranking",
    "load": "tunedb.store.transfer",
    "obstacle": "tunedb.store.ranking",
    "open_store": "tunedb.store.store",
    "opened_for_writing": "tunedb.store.transfer",
    "ranked": "tunedb.store.ranking",
    "receive": "tunedb.store.union",
    "strength": "tunedb.store.ranking",
    "upgrade": "tunedb.store.schema",
    "winner": "tunedb.store.ranking",
    "winners": "tunedb.store.ranking",
}

__all__ = [
    "Loaded",
    "Received",
    "Rejected",
    "Source",
    "Store",
    "Totals",
    "check",
    "current",
    "dump",
    "garbage",
    "has_failed",
    "load",
    "obstacle",
    "open_store",
    "opened_for_writing",
    "ranked",
    "receive",
    "strength",
    "upgrade",
    "winner",
    "winners",
]

__getattr__, __dir__ = lazy(globals(), _LAZY)
