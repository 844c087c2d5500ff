"""Claims in a database: taken in one statement, renewed, given back, and fenced by the number of the attempt.

Every time is the database's own, so that no host's clock matters; nothing is kept in a session, so that a pooler may
give each transaction another one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tunedb.core.claim import MAX_LEASE_S, Claim, Claimant, ClaimKey, ClaimState
from tunedb.errors import StoreError
from tunedb.store.sql import statements
from tunedb.store.sql.base import Access
from tunedb.store.sql.command_text import about
from tunedb.store.sql.statements import MAX_COUNT

_KEY = "kernel = :kernel AND problem = :problem AND device = :device AND kernel_hash = :kernel_hash"
_OURS = f"{_KEY} AND owner = :owner AND attempt = :attempt AND state = '{ClaimState.HELD}'"
CLOCK = {
    "sqlite": {
        "in_seconds": "strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', {}))",  # as UtcTime keeps times
        "age": "(julianday('now') - julianday(expires)) * 86400.0",
    },
    "postgresql": {
        "in_seconds": "clock_timestamp() + make_interval(secs => CAST({} AS double precision))",
        "age": "CAST(EXTRACT(EPOCH FROM clock_timestamp() - expires) AS double precision)",
    },
}


class Claims:
    """The queries of the table `claim`, which stays in this store: it is neither exported nor synced."""

    def __init__(self, access: Access) -> None:
        self._access = access
        clock = CLOCK["sqlite" if access.database.is_sqlite else "postgresql"]
        now, later = clock["in_seconds"].format("0.0"), clock["in_seconds"].format(":lease")
        self._take = sa.text(
            "INSERT INTO claim (kernel, problem, device, kernel_hash, owner, place, attempt, state, expires) "
            f"VALUES (:kernel, :problem, :device, :kernel_hash, :owner, :place, 1, '{ClaimState.HELD}', {later}) "
            "ON CONFLICT (kernel, problem, device, kernel_hash) DO UPDATE SET owner = excluded.owner, "
            "place = excluded.place, state = excluded.state, expires = excluded.expires, "
            f"attempt = CASE WHEN claim.attempt < {MAX_COUNT} THEN claim.attempt + 1 ELSE 1 END "
            # Any other row, such as one that makes no sense, is free.
            f"WHERE NOT COALESCE(claim.expires <= {clock['in_seconds'].format(MAX_LEASE_S)} AND ("
            f"(claim.state = '{ClaimState.FAILED}' AND claim.expires > {clock['in_seconds'].format('-:waited')}) "
            f"OR (claim.state = '{ClaimState.HELD}' AND claim.expires > {now} "
            "AND claim.owner <> excluded.owner AND COALESCE(claim.place <> excluded.place, 1 = 1))), 1 = 0)"
        )
        self._get = sa.text(f"SELECT owner, attempt, state, {clock['age']} AS age FROM claim WHERE {_KEY}")
        self._renew = sa.text(f"UPDATE claim SET expires = {later} WHERE {_OURS}")
        self._end = sa.text(f"UPDATE claim SET state = :state, expires = {now} WHERE {_OURS}")
        self._give_back = sa.text(
            f"UPDATE claim SET state = :state, expires = {now} WHERE owner = :owner AND state = '{ClaimState.HELD}'"
        )
        old = f"FROM claim WHERE expires < {clock['in_seconds'].format('-:seconds')}"
        self._count_old, self._remove_old = sa.text(f"SELECT count(*) {old}"), sa.text(f"DELETE {old}")

    def take(self, key: ClaimKey, claimant: Claimant, waited: float = 0.0) -> Claim:
        """Take the claim if it is free; return it, ours or as another process has it.

        Free is one that nobody has, that was given back, whose lease has run out, or whose owner is gone for sure; and
        the claimant's own, which it has lost: a process sweeps a problem once at a time. One that failed within the
        last `waited` seconds is not: the sweep that the claimant waited for has failed.
        """
        with self._access.write() as connection:
            return self.take_in(connection, key, claimant, waited)

    def take_in(self, connection: sa.Connection, key: ClaimKey, claimant: Claimant, waited: float = 0.0) -> Claim:
        """Take the claim within a transaction, as `take` does."""
        values = {"owner": claimant.owner, "place": claimant.place, "lease": claimant.lease, "waited": max(waited, 0.0)}
        taken = self._changed(connection, self._take, key, **values)
        claim = self.get_in(connection, key, is_ours=taken)
        if claim is None:  # it can't be missing: nothing deletes one that is in the way
            advice = about("tunedb db check", self._access.database.url)
            raise StoreError(f"A claim of {key.problem.kernel} was not stored. Run: {advice}")
        return claim

    def get(self, key: ClaimKey) -> Claim | None:
        """Return the claim; None if nobody has ever taken it."""
        with self._access.read() as connection:
            return self.get_in(connection, key)

    def renew(self, claim: Claim, lease: float) -> bool:
        """Begin the lease again; return False if the claim is not ours any more."""
        with self._access.write() as connection:
            return self._changed(
                connection, self._renew, claim.key, owner=claim.owner, attempt=claim.attempt, lease=lease
            )

    def end(self, claim: Claim, state: ClaimState) -> bool:
        """Give the claim back; return False if it is not ours any more."""
        with self._access.write() as connection:
            return self.end_in(connection, claim, state)

    def end_in(self, connection: sa.Connection, claim: Claim, state: ClaimState) -> bool:
        """Give the claim back within a transaction, as `end` does."""
        values = {"owner": claim.owner, "attempt": claim.attempt, "state": str(state)}
        return self._changed(connection, self._end, claim.key, **values)

    def give_back(self, owner: str, state: ClaimState = ClaimState.RELEASED) -> int:
        """Give back all that an owner holds, whose process has ended; return how many claims."""
        with self._access.write() as connection:
            return connection.execute(self._give_back, {"owner": owner, "state": str(state)}).rowcount

    def count_old(self, age: timedelta) -> int:
        """Return how many claims ended longer ago than that."""
        with self._access.read() as connection:
            return connection.scalar(self._count_old, {"seconds": age.total_seconds()}) or 0

    def remove_old(self, age: timedelta) -> int:
        """Remove the claims that ended longer ago than that; return how many."""
        with self._access.write() as connection:
            return connection.execute(self._remove_old, {"seconds": age.total_seconds()}).rowcount

    def _changed(self, connection: sa.Connection, statement: sa.TextClause, key: ClaimKey, **values: Any) -> bool:
        values |= statements.identity(key.problem, key.device, key.kernel_hash)
        return connection.execute(statement, values, execution_options={"preserve_rowcount": True}).rowcount > 0

    def get_in(self, connection: sa.Connection, key: ClaimKey, *, is_ours: bool = False) -> Claim | None:
        """Return the claim within a transaction, as `get` does."""
        row = connection.execute(self._get, statements.identity(key.problem, key.device, key.kernel_hash)).one_or_none()
        if row is None:
            return None
        # SQLite holds anything in any column; what makes no sense is overwritten by the next claimant.
        attempt = row.attempt if type(row.attempt) is int else 0
        state = ClaimState(row.state) if row.state in tuple(ClaimState) else ClaimState.RELEASED
        age = float(row.age) if isinstance(row.age, int | float) else 0.0
        return Claim(key, str(row.owner), attempt, state, age, is_ours)
