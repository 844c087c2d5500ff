"""Where sweeps are kept: in a SQLite file, or in a PostgreSQL database that machines share."""

from tunedb.store.ranking import Source, has_failed, ranked, winner
from tunedb.store.schema import check, current, upgrade
from tunedb.store.store import Store, open_store
from tunedb.store.transfer import Loaded, Rejected, dump, load

__all__ = [
    "Loaded",
    "Rejected",
    "Source",
    "Store",
    "check",
    "current",
    "dump",
    "has_failed",
    "load",
    "open_store",
    "ranked",
    "upgrade",
    "winner",
]
