"""The confirmations of a store: sweeps that still held in another environment. The sweeps need not be in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from tunedb.core.sweep import Confirmation
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import ConfirmationRow

_COLUMNS = [ConfirmationRow.__table__.c[name] for name in statements.CONFIRMATION]
_OF_SWEEPS = sa.text(statements.CONFIRMATIONS).bindparams(sa.bindparam("sweeps", expanding=True)).columns(*_COLUMNS)


class Confirmations:
    """The queries of the table `confirmation`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def put_all(self, confirmations: Iterable[tuple[str, Confirmation]]) -> int:
        """Keep confirmations, each with the uid of its sweep, page by page; return how many are new."""
        confirmations = list(confirmations)
        for sweep_uid, confirmation in confirmations:
            rows.check_uid(sweep_uid)
            rows.check_confirmation(confirmation)
        new = 0
        for start in range(0, len(confirmations), PAGE):
            with self._access.write() as connection:
                new += self.insert(connection, confirmations[start : start + PAGE])
        return new

    def insert(self, connection: sa.Connection, confirmations: Iterable[tuple[str, Confirmation]]) -> int:
        """Insert confirmations within a transaction; return how many are new."""
        return sum(
            self._access.insert(
                connection, ConfirmationRow, {"sweep_uid": sweep_uid, **rows.confirmation_values(confirmation)}
            )
            for sweep_uid, confirmation in confirmations
        )

    def get_all(self) -> list[tuple[str, Confirmation]]:
        """Return every readable confirmation with the uid of its sweep."""
        query = sa.select(*_COLUMNS).order_by(ConfirmationRow.time, ConfirmationRow.uid)
        with self._access.read() as connection:
            selected = connection.execute(query).all()
        return list(self._access.readable(selected, records.to_confirmation))

    def get_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Confirmation]]:
        """Return the confirmations of these sweeps, by the uid of the sweep, the newest first."""
        with self._access.read() as connection:
            return dict(self.select(connection, sweep_uids))

    def select(self, connection: sa.Connection, sweep_uids: Sequence[str]) -> Mapping[str, list[Confirmation]]:
        """Select the readable confirmations of these sweeps, the newest first."""
        by_sweep: defaultdict[str, list[Confirmation]] = defaultdict(list)
        sweep_uids = [uid for uid in sweep_uids if rows.is_uid(uid)]
        for start in range(0, len(sweep_uids), PAGE):
            values = {"sweeps": sweep_uids[start : start + PAGE], "most": statements.MAX_MARKS}
            selected = connection.execute(_OF_SWEEPS, values).all()
            for sweep_uid, confirmation in self._access.readable(selected, records.to_confirmation):
                by_sweep[sweep_uid].append(confirmation)
        return by_sweep
