"""Stores, where sweeps are kept: in a SQLite file, or in a PostgreSQL database that machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb._internal.lazy import lazy

if TYPE_CHECKING:
    from tunedb.store.exchange.jsonl import Loaded as Loaded
    from tunedb.store.exchange.jsonl import Rejected as Rejected
    from tunedb.store.exchange.jsonl import dump as dump
    from tunedb.store.exchange.jsonl import load as load
    from tunedb.store.exchange.jsonl import opened_for_writing as opened_for_writing
    from tunedb.store.exchange.sync import Received as Received
    from tunedb.store.exchange.sync import receive as receive
    from tunedb.store.ranking import has_failed as has_failed
    from tunedb.store.ranking import obstacle as obstacle
    from tunedb.store.ranking import ranked as ranked
    from tunedb.store.ranking import strength as strength
    from tunedb.store.ranking import winner as winner
    from tunedb.store.ranking import winners as winners
    from tunedb.store.retention import garbage as garbage
    from tunedb.store.sql.opening import open_store as open_store
    from tunedb.store.sql.schema import check as check
    from tunedb.store.sql.schema import current as current
    from tunedb.store.sql.schema import upgrade as upgrade
    from tunedb.store.sql.store import Store as Store
    from tunedb.store.sql.upkeep import Totals as Totals

# Loaded at first use: ranking and the guards need no SQLAlchemy.
_LAZY = {
    "Loaded": "tunedb.store.exchange.jsonl",
    "Received": "tunedb.store.exchange.sync",
    "Rejected": "tunedb.store.exchange.jsonl",
    "Store": "tunedb.store.sql.store",
    "Totals": "tunedb.store.sql.upkeep",
    "check": "tunedb.store.sql.schema",
    "current": "tunedb.store.sql.schema",
    "dump": "tunedb.store.exchange.jsonl",
    "garbage": "tunedb.store.retention",
    "has_failed": "tunedb.store.ranking",
    "load": "tunedb.store.exchange.jsonl",
    "obstacle": "tunedb.store.ranking",
    "open_store": "tunedb.store.sql.opening",
    "opened_for_writing": "tunedb.store.exchange.jsonl",
    "ranked": "tunedb.store.ranking",
    "receive": "tunedb.store.exchange.sync",
    "strength": "tunedb.store.ranking",
    "upgrade": "tunedb.store.sql.schema",
    "winner": "tunedb.store.ranking",
    "winners": "tunedb.store.ranking",
}

__all__ = [
    "Loaded",
    "Received",
    "Rejected",
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
