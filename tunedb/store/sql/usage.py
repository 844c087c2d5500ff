"""Usage counts of a store: how often calls of a problem on a device were served by a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from tunedb.core.sweep import MISSES, Source, Sweep, UsageCount
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import Access
from tunedb.store.sql.models import DeviceRow, MissRow, ProblemRow, SweepRow, UtcTime
from tunedb.store.sql.statements import MAX_ROWS

_COUNT = sa.text(statements.COUNT).bindparams(
    sa.bindparam("first_seen", type_=UtcTime()), sa.bindparam("last_seen", type_=UtcTime())
)


def _tuned_since() -> sa.Exists:
    """Say whether the problem was tuned after it was missed: counts may be written after the sweep."""
    return sa.exists().where(
        SweepRow.problem_id == MissRow.problem_id,
        SweepRow.device_id == MissRow.device_id,
        SweepRow.status == "tuned",
        SweepRow.finished >= MissRow.last_seen,
    )


class UsageCounts:
    """The queries of the table `miss`, which stays in this store: it is neither exported nor shared."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def add(self, counts: Iterable[UsageCount]) -> None:
        """Add to the counts, in one transaction; the table stays bounded."""
        counts = list(counts)
        for usage in counts:
            rows.check_facts(usage.problem, usage.device)
        with self._access.write() as connection:
            for usage in counts:
                self._access.problem_id(connection, usage.problem)
                self._access.device_id(connection, usage.device)
                times = {"first_seen": usage.first_seen, "last_seen": usage.last_seen}
                connection.execute(_COUNT, statements.count_values(usage) | times)
            self._shorten(connection)

    def get(self, sources: Sequence[str]) -> list[UsageCount]:
        """Return the counts of these sources, the most frequent first; not of problems that were tuned since."""
        query = (
            sa.select(*MissRow.__table__.columns, ProblemRow.kernel, ProblemRow.key, DeviceRow.name)
            .add_columns(DeviceRow.backend, DeviceRow.arch, DeviceRow.multiprocessors, DeviceRow.info)
            .join_from(MissRow, ProblemRow)
            .join(DeviceRow)
            .where(MissRow.served_by.in_(sources), ~sa.and_(MissRow.served_by.in_(MISSES), _tuned_since()))
            .order_by(MissRow.count.desc(), MissRow.last_seen.desc(), ProblemRow.kernel, ProblemRow.key)
        )
        with self._access.read() as connection:
            selected = connection.execute(query).all()
        return list(self._access.readable(selected, records.to_usage))

    def by_source(self) -> dict[str, int]:
        """Return how often each source has served."""
        served: Counter[str] = Counter()
        with self._access.read() as connection:
            # Added up here: SQLite's sum() fails beyond 64 bits, and takes a text for 0.
            for source, count in connection.execute(sa.select(MissRow.served_by, MissRow.count)):
                if source in tuple(Source) and type(count) is int:
                    served[source] += count
        return dict(sorted(served.items()))

    def forget_misses(self, connection: sa.Connection, sweep: Sweep) -> None:
        """Forget the misses of a sweep's problem, within a transaction: it has been tuned."""
        same = (
            MissRow.problem_id == self._access.problem_id(connection, sweep.problem),
            MissRow.device_id == self._access.device_id(connection, sweep.device),
        )
        connection.execute(sa.delete(MissRow).where(*same, MissRow.served_by.in_(MISSES)))

    def _shorten(self, connection: sa.Connection) -> None:
        total = connection.scalar(sa.select(sa.func.count()).select_from(MissRow)) or 0
        if total > MAX_ROWS:
            key = [MissRow.problem_id, MissRow.device_id, MissRow.served_by]
            is_miss = sa.case((MissRow.served_by.in_(MISSES), 1), else_=0)  # hits make room for misses
            oldest = sa.select(*key).order_by(is_miss, MissRow.last_seen, *key).limit(total - MAX_ROWS)
            connection.execute(sa.delete(MissRow).where(sa.tuple_(*key).in_(oldest)))
