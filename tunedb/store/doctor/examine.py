"""What `tunedb doctor` looks at in a store, local or shared. It changes nothing and never raises."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from tunedb.core.sweep import now as utc_now
from tunedb.store.doctor import database as checks
from tunedb.store.doctor.database import Clock, Hashes
from tunedb.store.doctor.filesystem import surroundings
from tunedb.store.doctor.finding import Finding, failed
from tunedb.store.sql import schema
from tunedb.store.sql.engine import Database, locate

DEADLINE = 1.0  # seconds that a shared store has to answer in: it is what a call waits for it
BUSY_TIMEOUT = 5.0  # seconds to wait for a writer


def examine(url: str, *, hashes: Hashes, now: Clock = utc_now) -> Iterator[Finding]:
    """Look at the store of this path or URL.

    A SQLite file in WAL mode, which tunedb never makes, gets SQLite's own side files from being read.
    """
    try:
        database = locate(url, busy_timeout=BUSY_TIMEOUT, read_only=True)
    except Exception as error:  # as in `check`
        yield failed("store", error)
        return
    store = checks.opened(database)
    yield store
    if database.path is not None:
        yield from surroundings(database.path)
    revision = _revision(database) if store.status == "ok" else None
    if store.status != "ok" or (revision is None and database.is_sqlite):
        return
    if database.is_sqlite:
        yield checks.library(database)
        yield checks.integrity(database)
    else:
        yield checks.clock(database, now)
    yield checks.schema_state(database)
    if revision == schema.HEAD:
        yield checks.tables(database)
        yield checks.unfinished(database, now)
        yield checks.dead_rows(database, hashes)


def examine_shared(url: str | None, *, deadline: float = DEADLINE, now: Clock = utc_now) -> list[Finding]:
    """Look at the shared store for no longer than the deadline, in seconds."""
    if url is None:
        return [Finding("shared store", "ok", "none is named in TUNEDB_SHARED")]
    try:
        database = locate(url, busy_timeout=deadline, read_only=True)
    except Exception as error:  # as in `check`
        return [failed("shared store", error)]
    found: list[Finding] = []
    done = threading.Event()

    def look() -> None:
        found.append(checks.opened(database))
        if found[0].status == "ok":
            found.append(checks.schema_state(database))
            if not database.is_sqlite:
                found.append(checks.clock(database, now))
        done.set()

    threading.Thread(target=look, name="tunedb-doctor", daemon=True).start()
    if not done.wait(deadline):
        late = f"{database.url} has not answered within {deadline:g} s; calls go on with the local store"
        return [Finding("shared store", "bad", late, "See whether the server is up and near, or unset TUNEDB_SHARED")]
    return [dataclasses.replace(one, check=f"shared {one.check}") for one in found]


def _revision(database: Database) -> str | None:
    with contextlib.suppress(Exception):  # which `opened` has told
        return schema.revision(database)
    return None
