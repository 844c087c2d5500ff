"""The marks of a store: judgements of sweeps, which need not be in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from tunedb.core.sweep import Mark
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import MarkRow

_COLUMNS = [MarkRow.__table__.c[name] for name in statements.MARK]
_OF_SWEEPS, _NEWEST_OF_SWEEPS = (
    sa.text(text).bindparams(sa.bindparam("sweeps", expanding=True)).columns(*_COLUMNS)
    for text in (statements.MARKS, statements.NEWEST_MARKS)
)


class Marks:
    """The queries of the table `mark`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def put(self, sweep_uid: str, mark: Mark) -> bool:
        """Keep a mark of a sweep, which need not be here yet; return False if a mark of that uid is known."""
        return self.put_all([(sweep_uid, mark)]) == 1

    def put_all(self, marks: Iterable[tuple[str, Mark]]) -> int:
        """Keep marks, each with the uid of its sweep, page by page; return how many are new."""
        marks = list(marks)
        for sweep_uid, mark in marks:
            rows.check_uid(sweep_uid)
            rows.check_mark(mark)
        new = 0
        for start in range(0, len(marks), PAGE):
            with self._access.write() as connection:
                new += self.insert(connection, marks[start : start + PAGE])
        return new

    def get_all(self) -> list[tuple[str, Mark]]:
        """Return every readable mark with the uid of its sweep."""
        with self._access.read() as connection:
            selected = connection.execute(sa.select(*_COLUMNS).order_by(MarkRow.time, MarkRow.uid)).all()
        return list(self._access.readable(selected, records.to_mark))

    def count(self) -> int:
        """Return the number of marks, unreadable ones included."""
        with self._access.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(MarkRow)) or 0

    def get_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps, by the uid of the sweep, oldest first."""
        with self._access.read() as connection:
            return dict(self.select(connection, sweep_uids))

    def insert(self, connection: sa.Connection, marks: Iterable[tuple[str, Mark]]) -> int:
        """Insert marks within a transaction; return how many are new."""
        return sum(
            self._access.insert(connection, MarkRow, {"sweep_uid": sweep_uid, **rows.mark_values(mark)})
            for sweep_uid, mark in marks
        )

    def select(self, connection: sa.Connection, sweep_uids: Sequence[str]) -> defaultdict[str, list[Mark]]:
        """Select the readable marks of these sweeps, oldest first; of very many, the newest of each sweep and kind."""
        by_sweep: defaultdict[str, list[Mark]] = defaultdict(list)
        sweep_uids = [uid for uid in sweep_uids if rows.is_uid(uid)]  # those of unreadable rows can be anything
        for start in range(0, len(sweep_uids), PAGE):
            uids = {"sweeps": sweep_uids[start : start + PAGE]}
            selected = connection.execute(_OF_SWEEPS, {**uids, "most": statements.MAX_MARKS + 1}).all()
            if len(selected) > statements.MAX_MARKS:
                selected = connection.execute(_NEWEST_OF_SWEEPS, {**uids, "newest": statements.NEWEST}).all()
            for sweep_uid, mark in self._access.readable(selected, records.to_mark):
                by_sweep[sweep_uid].append(mark)
        return by_sweep
