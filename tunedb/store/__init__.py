"""Where sweeps are kept: in a SQLite file, or in a PostgreSQL database that machines share."""

from tunedb.store.garbage import garbage
from tunedb.store.ranking import Source, has_failed, obstacle, ranked, strength, winner, winners
from tunedb.store.schema import check, current, upgrade
from tunedb.store.store import Store, open_store
from tunedb.store.transfer import Loaded, Rejected, dump, load, opened_for_writing
from tunedb.store.union import Received, receive
from tunedb.store.upkeep import Totals

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
