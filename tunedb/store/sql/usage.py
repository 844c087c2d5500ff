"""What calls were served with, counted by problem, device and source: the ledger of misses, and of hits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.problem import Problem, parse_json
from tunedb.core.sweep import MISSES, Source, Sweep, UsageCount
from tunedb.store.sql.base import Access
from tunedb.store.sql.models import DeviceRow, MissRow, ProblemRow, SweepRow

MOST = 10_000  # rows of the table; beyond that those that were not seen for longest go


def _tuned_since() -> sa.Exists:
    """Whether the problem was tuned after it was missed: by then unwritten counts may have come later."""
    return sa.exists().where(
        SweepRow.problem_id == MissRow.problem_id,
        SweepRow.device_id == MissRow.device_id,
        SweepRow.status == "tuned",
        SweepRow.finished >= MissRow.last_seen,
    )


class UsageTable(Access):
    """The queries of the table `miss`, which stays in this store: it is neither exported nor shared."""

    def add_served(self, served: Iterable[UsageCount]) -> None:
        """Add to the counts, in one transaction; the table stays bounded."""
        served = list(served)
        with self._write() as connection:
            for one in served:
                key = {
                    "problem_id": self._problem_id(connection, one.problem),
                    "device_id": self._device_id(connection, one.device),
                    "served_by": str(one.source),
                }
                added = {"count": one.count, "first_seen": one.first_seen, "last_seen": one.last_seen}
                if not self._insert(connection, MissRow, key | added):
                    same = (MissRow.__table__.c[name] == value for name, value in key.items())
                    grown = {"count": MissRow.count + one.count, "last_seen": one.last_seen}
                    connection.execute(sa.update(MissRow).where(*same).values(**grown))
            self._shorten(connection)

    def get_served(self, sources: Sequence[str]) -> list[UsageCount]:
        """What was served by these sources, the most frequent first."""
        query = (
            sa.select(*MissRow.__table__.columns, ProblemRow.kernel, ProblemRow.key, DeviceRow.name)
            .add_columns(DeviceRow.backend, DeviceRow.arch, DeviceRow.multiprocessors, DeviceRow.info)
            .join_from(MissRow, ProblemRow)
            .join(DeviceRow)
            .where(MissRow.served_by.in_(sources), ~sa.and_(MissRow.served_by.in_(MISSES), _tuned_since()))
            .order_by(MissRow.count.desc(), MissRow.last_seen.desc(), ProblemRow.kernel, ProblemRow.key)
        )
        with self._read() as connection:
            found = connection.execute(query).all()
        return [
            UsageCount(
                Problem(row.key, row.kernel),
                Device(row.name, row.backend, row.arch, row.multiprocessors, parse_json(row.info)),
                Source(row.served_by),
                row._mapping["count"],  # `row.count` is a tuple's method
                row.first_seen,
                row.last_seen,
            )
            for row in found
        ]

    def count_served(self) -> dict[str, int]:
        """How often each source has served."""
        query = sa.select(MissRow.served_by, sa.func.sum(MissRow.count)).group_by(MissRow.served_by)
        with self._read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query.order_by(MissRow.served_by))}

    def _settle(self, connection: sa.Connection, sweep: Sweep) -> None:
        """Forget the misses of a problem that has been tuned."""
        same = (
            MissRow.problem_id == self._problem_id(connection, sweep.problem),
            MissRow.device_id == self._device_id(connection, sweep.device),
        )
        connection.execute(sa.delete(MissRow).where(*same, MissRow.served_by.in_(MISSES)))

    def _shorten(self, connection: sa.Connection) -> None:
        total = connection.scalar(sa.select(sa.func.count()).select_from(MissRow)) or 0
        if total > MOST:
            key = [MissRow.problem_id, MissRow.device_id, MissRow.served_by]
            is_miss = sa.case((MissRow.served_by.in_(MISSES), 1), else_=0)  # hits make room for misses
            oldest = sa.select(*key).order_by(is_miss, MissRow.last_seen, *key).limit(total - MOST)
            connection.execute(sa.delete(MissRow).where(sa.tuple_(*key).in_(oldest)))
