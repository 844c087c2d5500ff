"""Queries over all sweeps of a store: their uids, totals and devices, and the removal of some."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, SweepStatus
from tunedb.errors import StoreError
from tunedb.store.sql import records, statements
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.models import DeviceRow, ProblemRow, SweepRow, TrialRow

_KNOWN_UIDS = sa.text(statements.KNOWN_UIDS).bindparams(sa.bindparam("uids", expanding=True))


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a store: sweeps by status, those that came from elsewhere, and the seconds that sweeping took."""

    sweeps: dict[str, int]
    imported: int
    seconds: float
    problems: int
    devices: int


@dataclass(frozen=True, slots=True)
class DeviceTotals:
    """A device, its tuned problems, their sweeps, and when the last one ended."""

    device: Device
    problems: int
    sweeps: int
    last: datetime | None


@dataclass(frozen=True, slots=True)
class KernelTotals:
    """A kernel of one hash, its tuned problems, their sweeps, and when the last one ended."""

    kernel: str
    kernel_hash: str
    problems: int
    sweeps: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Gain:
    """The microseconds that a launch of a tuned problem gains over the default, by its own sweep."""

    problem: Problem
    device_digest: str
    gain_us: float


class Upkeep:
    """The queries over all sweeps."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def uids(self) -> dict[str, str]:
        """Return the uids of the finished sweeps, each with its status, also of those that can't be read."""
        with self._access.read() as connection:
            finished = sa.select(SweepRow.uid, SweepRow.status).where(SweepRow.status != "running")
            return {row.uid: row.status for row in connection.execute(finished)}

    def known_uids(self, uids: Sequence[str]) -> set[str]:
        """Return those of these uids that finished sweeps of the store have."""
        known: set[str] = set()
        with self._access.read() as connection:
            for start in range(0, len(uids), PAGE):
                known.update(connection.execute(_KNOWN_UIDS, {"uids": uids[start : start + PAGE]}).scalars())
        return known

    def totals(self) -> Totals:
        """Return counts over all sweeps, and the seconds that the finished ones took on any machine."""
        by_status = sa.select(SweepRow.status, sa.func.count()).group_by(SweepRow.status)
        problems, devices = (sa.func.count(sa.distinct(column)) for column in (SweepRow.problem_id, SweepRow.device_id))
        imported = sa.select(sa.func.count()).select_from(SweepRow).where(SweepRow.origin == "imported")
        times = sa.select(SweepRow.started, SweepRow.finished).where(SweepRow.finished.is_not(None))
        with self._access.read() as connection:
            counts = {row[0]: row[1] for row in connection.execute(by_status)}
            # Added up here: the two engines have no expression in common for a difference of times.
            spent = sum(map(_seconds, connection.execute(times)))
            return Totals(
                {str(status): counts.get(status, 0) for status in SweepStatus},
                connection.scalar(imported) or 0,
                spent,
                connection.scalar(sa.select(problems)) or 0,
                connection.scalar(sa.select(devices)) or 0,
            )

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that finished sweeps are of: those of a kernel, or of all."""
        with self._access.read() as connection:
            selected = connection.execute(sa.text(statements.SWEPT_DEVICES), {"kernel": kernel}).all()
        return list(self._access.readable(selected, records.to_device))

    def kernels(self) -> list[str]:
        """Return the names of the kernels that tuned sweeps are of, sorted."""
        with self._access.read() as connection:
            selected = connection.execute(sa.text(statements.TUNED_KERNELS)).scalars()
            return sorted(name for name in selected if isinstance(name, str))

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that finished sweeps are of, sorted."""
        with self._access.read() as connection:
            selected = connection.execute(sa.text(statements.PROBLEMS_OF_KERNEL), {"kernel": kernel}).all()
        return list(self._access.readable(selected, records.to_problem))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs that sweeps of a kernel tried, and their winners, each once."""
        with self._access.read() as connection:
            selected = connection.execute(sa.text(statements.TRIED_OF_KERNEL), {"kernel": kernel}).all()
        return sorted(self._access.readable(selected, records.to_config), key=lambda config: config.key)

    def device_totals(self) -> list[DeviceTotals]:
        """Return every stored device with its totals, by name."""
        finished = sa.select(SweepRow.device_id, SweepRow.problem_id, SweepRow.finished).where(
            SweepRow.status == "tuned"
        )
        problems: dict[int, set[int]] = defaultdict(set)
        sweeps: Counter[int] = Counter()
        last: dict[int, datetime] = {}
        with self._access.read() as connection:
            selected = connection.execute(sa.select(*DeviceRow.__table__.columns)).all()
            for device_id, problem_id, moment in connection.execute(finished):
                problems[device_id].add(problem_id)
                sweeps[device_id] += 1
                if isinstance(moment, datetime):
                    last[device_id] = max(moment, last.get(device_id, moment))
        devices = self._access.readable(selected, lambda row: (row.id, records.to_device(row)))
        totals = [DeviceTotals(one, len(problems[id_]), sweeps[id_], last.get(id_)) for id_, one in devices]
        return sorted(totals, key=lambda one: one.device.key)

    def kernel_totals(self) -> list[KernelTotals]:
        """Return every stored kernel with its totals by hash, by name."""
        query = (
            sa.select(ProblemRow.kernel, SweepRow.kernel_hash, SweepRow.problem_id, SweepRow.finished)
            .join_from(SweepRow, ProblemRow)
            .where(SweepRow.status == "tuned")
        )
        problems: dict[tuple[str, str], set[int]] = defaultdict(set)
        sweeps: Counter[tuple[str, str]] = Counter()
        last: dict[tuple[str, str], datetime] = {}
        with self._access.read() as connection:
            for kernel, kernel_hash, problem_id, moment in connection.execute(query):
                if not (isinstance(kernel, str) and isinstance(kernel_hash, str) and isinstance(moment, datetime)):
                    continue
                key = kernel, kernel_hash
                problems[key].add(problem_id)
                sweeps[key] += 1
                last[key] = max(moment, last.get(key, moment))
        return [KernelTotals(*key, len(problems[key]), sweeps[key], last[key]) for key in sorted(sweeps)]

    def gains(self, kernel: str, most: int) -> list[Gain]:
        """Return what tuning gained for a kernel's problems, on any device: the newest sweeps first, at most `most`."""
        query = (
            sa.select(ProblemRow.kernel, ProblemRow.key, DeviceRow.digest, SweepRow.time_us, SweepRow.default_time_us)
            .join_from(SweepRow, ProblemRow)
            .join(DeviceRow, SweepRow.device_id == DeviceRow.id)
            .where(ProblemRow.kernel == kernel, SweepRow.status == "tuned")
            .where(SweepRow.time_us.is_not(None), SweepRow.default_time_us.is_not(None))
            .order_by(SweepRow.finished.desc(), SweepRow.uid)
            .limit(most)
        )

        def to_gain(row: Any) -> Gain:
            if not (isinstance(row.time_us, float) and isinstance(row.default_time_us, float)):
                raise StoreError(f"Times of {kernel!r:.80} can't be read.")
            return Gain(records.to_problem(row), row.digest, max(0.0, row.default_time_us - row.time_us))

        with self._access.read() as connection:
            selected = connection.execute(query).all()
        return list(self._access.readable(selected, to_gain))

    def remove(self, sweeps: Iterable[Sweep]) -> int:
        """Remove sweeps and their trials, in one transaction; return how many sweeps.

        Their marks stay, so that a quarantined sweep is still quarantined if another store brings it back. A sweep
        whose status has changed since it was read stays too: a running one that has finished has become a fact.
        """
        by_status: dict[str, list[str]] = defaultdict(list)
        for sweep in sweeps:
            by_status[str(sweep.status)].append(sweep.uid)
        removed = 0
        with self._access.write() as connection:
            for status, uids in by_status.items():
                for start in range(0, len(uids), PAGE):
                    removed += self._remove(connection, status, uids[start : start + PAGE])
        return removed

    def _remove(self, connection: sa.Connection, status: str, uids: Sequence[str]) -> int:
        query = sa.select(SweepRow.id, SweepRow.uid).where(SweepRow.uid.in_(uids), SweepRow.status == status)
        removed = connection.execute(query.with_for_update()).all()
        ids = [row.id for row in removed]
        connection.execute(sa.delete(TrialRow).where(TrialRow.sweep_id.in_(ids)))
        connection.execute(sa.delete(SweepRow).where(SweepRow.id.in_(ids)))
        return len(removed)


def _seconds(row: sa.Row[*tuple[Any, ...]]) -> float:
    is_readable = isinstance(row.started, datetime) and isinstance(row.finished, datetime)
    return max(0.0, (row.finished - row.started).total_seconds()) if is_readable else 0.0
