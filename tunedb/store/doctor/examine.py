"""Examines a store, local or shared, for `tunedb doctor`. Changes nothing and never raises."""

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
from tunedb.store.shared import DEADLINE_S
from tunedb.store.sql import schema
from tunedb.store.sql.engine import Database, locate

CHECK_TIMEOUT_S = 5.0  # a check waits this long for a writer


def examine(
    url: str, *, hashes: Hashes, writable: bool = True, has_bundles: bool = False, now: Clock = utc_now
) -> Iterator[Finding]:
    """Yield the findings about the store of this path or URL, which calls make if they may and it is not there.

    If they may not and it is not there, it is missed only if no bundles answer either.

    A SQLite file in WAL mode, which tunedb never makes, gets SQLite's own side files from being read.
    """
    try:
        database = locate(url, busy_timeout=CHECK_TIMEOUT_S, read_only=True)
    except Exception as error:  # as in `check`
        yield failed("store", error)
        return
    store = checks.opened(database, writable, has_bundles)
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


def examine_shared(url: str | None, *, deadline: float = DEADLINE_S, now: Clock = utc_now) -> list[Finding]:
    """Return the findings about the shared store, within the deadline in seconds."""
    if url is None:
        return [Finding("shared store", "ok", "none is named in TUNEDB_SHARED")]
    try:
        database = locate(url, busy_timeout=deadline, read_only=True)
    except Exception as error:  # as in `check`
        return [failed("shared store", error)]
    findings: list[Finding] = []
    done = threading.Event()

    def look() -> None:
        findings.append(checks.opened(database))
        if findings[0].status == "ok":
            findings.append(checks.schema_state(database))
            if not database.is_sqlite:
                findings.append(checks.clock(database, now))
        done.set()

    threading.Thread(target=look, name="tunedb-doctor", daemon=True).start()
    if not done.wait(deadline):
        late = f"{database.url} has not answered within {deadline:g} s; calls go on with the local store"
        return [Finding("shared store", "bad", late, "See whether the server is up and near, or unset TUNEDB_SHARED")]
    return [dataclasses.replace(finding, check=f"shared {finding.check}") for finding in findings]


def _revision(database: Database) -> str | None:
    with contextlib.suppress(Exception):  # which `opened` has reported
        return schema.revision(database)
    return None
