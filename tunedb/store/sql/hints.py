"""The hints of a store: configs that other tools found, in a table of their own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from tunedb.core.hint import Hint
from tunedb.core.sweep import now as utc_now
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import HintRow

PAUSE_S = 0.05  # between two transactions: SQLite's waiting writers look every 50 ms at first
_OF_KERNEL = sa.text(statements.HINTS).columns(*(HintRow.__table__.c[name] for name in statements.HINT))


class Hints:
    """The queries of the table `hint`."""

    def __init__(self, access: Access, now: Callable[[], datetime] = utc_now) -> None:
        self._access = access
        self._now = now

    def put_all(self, hints: Iterable[Hint]) -> int:
        """Keep hints, page by page; return how many are new. A known one stays as it is."""
        waiting, new, is_first = iter(hints), 0, True
        while page := list(itertools.islice(waiting, PAGE)):
            if not is_first:
                time.sleep(PAUSE_S)
            is_first = False
            for hint in page:
                rows.check_hint(hint)
            with self._access.write() as connection:
                for hint in page:
                    new += self._access.insert(connection, HintRow, {**rows.hint_values(hint), "arrived": self._now()})
        return new

    def get_all(self, kernel: str, device: str) -> list[Hint]:
        """Return the hints of a kernel on the device with that label, with their evidence, the newest first."""
        query = sa.select(*HintRow.__table__.columns).where(HintRow.kernel == kernel, HintRow.device == device)
        with self._access.read() as connection:
            selected = connection.execute(query.order_by(HintRow.id.desc())).all()
        return list(self._access.readable(selected, records.to_hint))

    def get(self, kernel: str, device: str) -> list[Hint]:
        """Return the newest hints of a kernel on the device with that label, without their evidence.

        After those under its name come those under its function's alone.
        """
        with self._access.read() as connection:
            selected = connection.execute(_OF_KERNEL, statements.hint_values(kernel, device)).all()
        return list(self._access.readable(selected, records.to_hint))

    def known(self, digests: Sequence[str]) -> set[str]:
        """Return those of the digests that are stored."""
        known: set[str] = set()
        for start in range(0, len(digests), PAGE):
            query = sa.select(HintRow.digest).where(HintRow.digest.in_(digests[start : start + PAGE]))
            with self._access.read() as connection:
                known.update(connection.scalars(query))
        return known

    def totals(self) -> dict[tuple[str, str], int]:
        """Return the number of hints by kernel and device."""
        query = sa.select(HintRow.kernel, HintRow.device, sa.func.count()).group_by(HintRow.kernel, HintRow.device)
        with self._access.read() as connection:
            return {(str(kernel), str(device)): count for kernel, device, count in connection.execute(query)}

    def remove(self, kernel: str) -> int:
        """Remove the hints of a kernel; return how many."""
        with self._access.write() as connection:
            return connection.execute(sa.delete(HintRow).where(HintRow.kernel == kernel)).rowcount
