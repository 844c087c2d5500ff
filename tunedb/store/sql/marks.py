"""Sweeps as a whole: the marks on them, which of them there are, their totals, and the removal of some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.sweep import Mark, Sweep, SweepStatus
from tunedb.store.sql import rows
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import DeviceRow, MarkRow, SweepRow, TrialRow


@dataclass(frozen=True, slots=True)
class Totals:
    """What a store holds: sweeps by status, those that came from elsewhere, and the seconds that sweeping took."""

    sweeps: dict[str, int]
    imported: int
    seconds: float
    problems: int
    devices: int


class Upkeep(Access):
    """The queries of the table `mark`, and those over all sweeps."""

    def put_mark(self, sweep_uid: str, mark: Mark) -> bool:
        """Keep a mark of a sweep, which need not be here yet; False where a mark of that uid is known."""
        return self.put_marks([(sweep_uid, mark)]) == 1

    def put_marks(self, marks: Iterable[tuple[str, Mark]]) -> int:
        """`put_mark` for many, each with the uid of its sweep, in one transaction; returns how many are new."""
        marks = list(marks)
        for sweep_uid, mark in marks:
            rows.check_uid(sweep_uid)
            rows.check_mark(mark)
        with self._write() as connection:
            return self._insert_marks(connection, marks)

    def get_marks(self) -> list[tuple[str, Mark]]:
        """Every mark with the uid of its sweep, which need not be here."""
        with self._read() as connection:
            query = sa.select(*MarkRow.__table__.columns).order_by(MarkRow.time, MarkRow.uid)
            return [(row.sweep_uid, rows.to_mark(row)) for row in connection.execute(query)]

    def get_marks_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        """The marks of these sweeps, which need not be here."""
        with self._read() as connection:
            found = self._marks(connection, sweep_uids)
        return {uid: [rows.to_mark(row) for row in marks] for uid, marks in found.items()}

    def get_uids(self) -> set[str]:
        """The uids of the finished sweeps."""
        with self._read() as connection:
            return set(connection.scalars(sa.select(SweepRow.uid).where(SweepRow.status != "running")))

    def get_totals(self) -> Totals:
        """Counts over all sweeps. The seconds are those of the finished ones, whoever ran them."""
        by_status = sa.select(SweepRow.status, sa.func.count()).group_by(SweepRow.status)
        problems, devices = (sa.func.count(sa.distinct(one)) for one in (SweepRow.problem_id, SweepRow.device_id))
        imported = sa.select(sa.func.count()).select_from(SweepRow).where(SweepRow.origin == "imported")
        times = sa.select(SweepRow.started, SweepRow.finished).where(SweepRow.finished.is_not(None))
        with self._read() as connection:
            counts = {row[0]: row[1] for row in connection.execute(by_status)}
            # Added up here: the two engines have no expression in common for a difference of times.
            spent = sum(max(0.0, (row.finished - row.started).total_seconds()) for row in connection.execute(times))
            return Totals(
                {str(status): counts.get(status, 0) for status in SweepStatus},
                connection.scalar(imported) or 0,
                spent,
                connection.scalar(sa.select(problems)) or 0,
                connection.scalar(sa.select(devices)) or 0,
            )

    def get_devices(self) -> list[Device]:
        """The devices that sweeps are of."""
        columns = (DeviceRow.name, DeviceRow.backend, DeviceRow.arch, DeviceRow.multiprocessors)
        known = sa.select(SweepRow.device_id).where(SweepRow.status != "running").distinct()
        with self._read() as connection:
            return [Device(*row) for row in connection.execute(sa.select(*columns).where(DeviceRow.id.in_(known)))]

    def remove_sweeps(self, sweeps: Iterable[Sweep]) -> int:
        """Remove sweeps and their trials, in one transaction; returns how many sweeps.

        Their marks stay: a sweep that was quarantined here must still be, should another store bring it back.

        One whose status has changed since it was read stays: a running one that is now finished has become a fact.
        """
        by_status: dict[str, list[str]] = defaultdict(list)
        for sweep in sweeps:
            by_status[str(sweep.status)].append(sweep.uid)
        removed = 0
        with self._write() as connection:
            for status, uids in by_status.items():
                for start in range(0, len(uids), PAGE):
                    removed += self._remove(connection, status, uids[start : start + PAGE])
        return removed

    def _remove(self, connection: sa.Connection, status: str, uids: Sequence[str]) -> int:
        query = sa.select(SweepRow.id, SweepRow.uid).where(SweepRow.uid.in_(uids), SweepRow.status == status)
        found = connection.execute(query.with_for_update()).all()
        ids = [row.id for row in found]
        connection.execute(sa.delete(TrialRow).where(TrialRow.sweep_id.in_(ids)))
        connection.execute(sa.delete(SweepRow).where(SweepRow.id.in_(ids)))
        return len(found)

    def _insert_marks(self, connection: sa.Connection, marks: Iterable[tuple[str, Mark]]) -> int:
        return sum(
            self._insert(connection, MarkRow, {"sweep_uid": sweep_uid, **rows.mark_values(mark)})
            for sweep_uid, mark in marks
        )

    def _marks(self, connection: sa.Connection, uids: Sequence[str]) -> dict[str, list[sa.Row[Any]]]:
        found: dict[str, list[sa.Row[Any]]] = defaultdict(list)
        for start in range(0, len(uids), PAGE):
            query = sa.select(*MarkRow.__table__.columns).where(MarkRow.sweep_uid.in_(uids[start : start + PAGE]))
            for row in connection.execute(query.order_by(MarkRow.time, MarkRow.uid)):
                found[row.sweep_uid].append(row)
        return found
