"""Publication of finished sweeps: kept under a claim, unless another process was first."""

from __future__ import annotations

import sqlalchemy as sa

from tunedb.core.claim import Claim, Claimant, ClaimKey, ClaimState
from tunedb.core.sweep import Sweep, now
from tunedb.store.claim_keeper import Publication
from tunedb.store.sql import rows, statements
from tunedb.store.sql.base import Access
from tunedb.store.sql.claims import CLOCK, Claims
from tunedb.store.sql.models import UtcTime
from tunedb.store.sql.sweep_rows import SweepRows


class Publishing:
    """The publication of sweeps to one store."""

    def __init__(self, access: Access, sweep_rows: SweepRows, claims: Claims) -> None:
        self._access = access
        self._rows = sweep_rows
        self._claims = claims
        in_seconds = CLOCK["sqlite" if access.database.is_sqlite else "postgresql"]["in_seconds"]
        # Hosts' clocks differ, so that what was published has the database's time.
        self._has_new = sa.text(statements.HAS_NEW.format(since=in_seconds.format("-:seconds"))).bindparams(
            sa.bindparam("started", type_=UtcTime())
        )
        self._arrives = sa.text(f"UPDATE sweep SET arrived = {in_seconds.format('0.0')} WHERE uid = :uid")

    def publish(self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool) -> Publication:
        """Keep a sweep and give back its claim, both or neither. See `Store.publish`."""
        rows.check_sweep(sweep)
        with self._access.write() as connection:
            # A claim that is not there any more was lost with its file, or removed because nobody held it.
            if claim is None or self._claims.get_in(connection, claim.key) is None:
                claim = self._claim_late(connection, sweep, claimant, is_first=is_first)
            if claim is not None and self._claims.end_in(connection, claim, ClaimState.RELEASED):
                self._put(connection, sweep)
                return Publication.KEPT
            # This very sweep may have been kept before: the answer may have been lost on its way.
            was_kept = self._rows.is_finished(connection, sweep.uid)
            return Publication.KEPT if was_kept else Publication.OVERTAKEN

    def publish_late(self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool) -> Publication:
        """Keep a sweep unless another one serves or is being made. See `Store.publish_late`."""
        rows.check_sweep(sweep)
        with self._access.write() as connection:
            if self._rows.is_finished(connection, sweep.uid):
                return Publication.KEPT
            if claim is None or not self._claims.end_in(connection, claim, ClaimState.RELEASED):
                key = ClaimKey(sweep.problem, sweep.device, sweep.kernel_hash)
                before = self._claims.get_in(connection, key)
                # This process may have a newer sweep under way, and it does not hold the lock file any more.
                late = Claimant(f"{claimant.owner}, sent later", None, claimant.lease)
                taken = self._claims.take_in(connection, key, late)
                if not taken.is_ours:
                    return Publication.UNKNOWN
                self._claims.end_in(connection, taken, ClaimState.RELEASED)
                # Looked up under the claim: of those that are sent at once only the first is kept.
                if self._is_behind(connection, before, sweep, is_first=is_first):
                    return Publication.OVERTAKEN
            self._put(connection, sweep)
            return Publication.KEPT

    def _put(self, connection: sa.Connection, sweep: Sweep) -> None:
        if self._rows.put(connection, sweep):
            connection.execute(self._arrives, {"uid": sweep.uid})

    def _claim_late(
        self, connection: sa.Connection, sweep: Sweep, claimant: Claimant, *, is_first: bool
    ) -> Claim | None:
        """Return a claim for a sweep that has none; None if another process was first."""
        key = ClaimKey(sweep.problem, sweep.device, sweep.kernel_hash)
        is_behind = self._is_behind(connection, self._claims.get_in(connection, key), sweep, is_first=is_first)
        claim = self._claims.take_in(connection, key, claimant)
        if claim.is_ours and is_behind:
            self._claims.end_in(connection, claim, ClaimState.RELEASED)
        return claim if claim.is_ours and not is_behind else None

    def _is_behind(self, connection: sa.Connection, before: Claim | None, sweep: Sweep, *, is_first: bool) -> bool:
        if is_first:
            return self._has_other(connection, sweep)
        # Another process's claim has ended since then, and its sweep arrived, both by the database's clock.
        seconds = max((now() - sweep.started).total_seconds(), 0.0)
        has_ended = before is not None and before.state == ClaimState.RELEASED and before.age <= seconds
        return has_ended and self._has_other(connection, sweep, seconds)

    def _has_other(self, connection: sa.Connection, sweep: Sweep, seconds: float | None = None) -> bool:
        """Say whether another tuned sweep of the same identity and environment is stored, and not quarantined.

        With `seconds`, one that arrived within these, and that this host had not swept before.
        """
        values = statements.identity(sweep.problem, sweep.device, sweep.kernel_hash)
        values |= {"environment": sweep.environment.key, "uid": sweep.uid}
        if seconds is None:
            return bool(connection.scalar(sa.text(statements.HAS_OTHER), values))
        began = {"host": sweep.host, "started": sweep.started, "seconds": seconds}
        return bool(connection.scalar(self._has_new, {**values, **began}))
