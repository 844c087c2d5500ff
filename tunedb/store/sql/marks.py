"""The marks of a store: judgements of sweeps, which need not be in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from tunedb.core.sweep import Mark
from tunedb.store.sql import rows
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import MarkRow

MarkRows = dict[str, list[sa.Row[Any]]]  # by the uid of their sweep


class Marks:
    """The queries of the table `mark`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def put(self, sweep_uid: str, mark: Mark) -> bool:
        """Keep a mark of a sweep, which need not be here yet; return False if a mark of that uid is known."""
        return self.put_all([(sweep_uid, mark)]) == 1

    def put_all(self, marks: Iterable[tuple[str, Mark]]) -> int:
        """Keep marks, each with the uid of its sweep, in one transaction; return how many are new."""
        marks = list(marks)
        for sweep_uid, mark in marks:
            rows.check_uid(sweep_uid)
            rows.check_mark(mark)
        with self._access.write() as connection:
            return self.insert(connection, marks)

    def get_all(self) -> list[tuple[str, Mark]]:
        """Return every mark with the uid of its sweep."""
        with self._access.read() as connection:
            query = sa.select(*MarkRow.__table__.columns).order_by(MarkRow.time, MarkRow.uid)
            return [(row.sweep_uid, rows.to_mark(row)) for row in connection.execute(query)]

    def get_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps, by the uid of the sweep."""
        with self._access.read() as connection:
            by_sweep = self.select(connection, sweep_uids)
        return {uid: [rows.to_mark(row) for row in marks] for uid, marks in by_sweep.items()}

    def insert(self, connection: sa.Connection, marks: Iterable[tuple[str, Mark]]) -> int:
        """Insert marks within a transaction; return how many are new."""
        return sum(
            self._access.insert(connection, MarkRow, {"sweep_uid": sweep_uid, **rows.mark_values(mark)})
            for sweep_uid, mark in marks
        )

    def select(self, connection: sa.Connection, sweep_uids: Sequence[str]) -> MarkRows:
        """Select the marks of these sweeps, oldest first."""
        by_sweep: MarkRows = defaultdict(list)
        for start in range(0, len(sweep_uids), PAGE):
            query = sa.select(*MarkRow.__table__.columns).where(MarkRow.sweep_uid.in_(sweep_uids[start : start + PAGE]))
            for row in connection.execute(query.order_by(MarkRow.time, MarkRow.uid)):
                by_sweep[row.sweep_uid].append(row)
        return by_sweep
