"""Usage counts of a store: how often calls of a problem on a device were served by a source, by host and day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, Source, UsageCount
from tunedb.core.sweep import now as utc_now
from tunedb.errors import StoreError
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import Access
from tunedb.store.sql.hosts import Hosts, HostSum, shorten
from tunedb.store.sql.models import DeviceRow, HostRow, MissRow, ProblemRow, SweepRow, UtcTime

_COUNT = sa.text(statements.COUNT).bindparams(
    sa.bindparam("first_seen", type_=UtcTime()), sa.bindparam("last_seen", type_=UtcTime())
)
GROUPS = {"kernel": ProblemRow.kernel, "device": DeviceRow.name, "host": HostRow.name, "day": MissRow.day}


@dataclass(frozen=True, slots=True)
class ServedCount:
    """How often one source served a problem on a device, on all hosts and days, and whether it was tuned since."""

    usage: UsageCount
    hosts: int
    tuned: datetime | None = None  # for a miss: when the store took a sweep that answers it, after the last call
    bundle: str = ""  # for a miss: the bundle that answers it now; the store does not know (`tuner.answered_misses`)

    @property
    def is_open(self) -> bool:
        """Whether it is a miss that no sweep answers yet."""
        return self.usage.source in MISSES and self.tuned is None and not self.bundle


class UsageCounts:
    """The queries of the table `miss`. What each host counted, and what other stores sent, is in `hosts`."""

    def __init__(self, access: Access, now: Callable[[], datetime] = utc_now) -> None:
        self._access = access
        self._now = now
        self.hosts = Hosts(access)

    def add(self, counts: Iterable[UsageCount]) -> None:
        """Add to the counts, in one transaction; those of a host stay bounded."""
        counts = list(counts)
        for usage in counts:
            rows.check_facts(usage.problem, usage.device)
            rows.check_host(usage.host)
        with self._access.write() as connection:
            hosts = {name: self.hosts.own_id(connection, name) for name in sorted({usage.host for usage in counts})}
            for usage in counts:
                self._access.problem_id(connection, usage.problem)
                self._access.device_id(connection, usage.device)
                times = {"first_seen": usage.first_seen, "last_seen": usage.last_seen}
                connection.execute(_COUNT, statements.count_values(usage) | times)
            for host_id in hosts.values():
                shorten(connection, host_id)

    def get(self, sources: Sequence[str]) -> list[UsageCount]:
        """Return the sums of these sources, the most frequent first; not of misses that were tuned since."""
        return [one.usage for one in self.served(sources) if one.tuned is None]

    def served(self, sources: Sequence[str]) -> list[ServedCount]:
        """Return the sums over all hosts and days, the most frequent first, also of misses that were tuned since."""
        sums: dict[tuple[str, str, Source], UsageCount] = {}
        hosts: dict[tuple[str, str, Source], set[str]] = defaultdict(set)
        for one in self.sums(sources):
            usage = one.usage
            key = (usage.problem.kernel + usage.problem.digest, usage.device.digest, usage.source)
            hosts[key].add(usage.host)
            sums[key] = _added(sums[key], usage) if key in sums else _added(usage)
        tuned = self._tuned() if set(sources) & set(MISSES) else {}
        served = [ServedCount(usage, len(hosts[key]), _since(tuned.get(key[:2]), usage)) for key, usage in sums.items()]
        return sorted(served, key=lambda one: _frequency(one.usage))

    def by_source(self) -> dict[str, int]:
        """Return how often each source has served, on all hosts."""
        return dict(sorted(self.totals([]).get((), Counter()).items()))

    def totals(self, by: Sequence[str]) -> dict[tuple[str, ...], Counter[str]]:
        """Return how often each source has served, by the values of some of GROUPS."""
        query = sa.select(MissRow.served_by, MissRow.count, *(GROUPS[name] for name in by)).join_from(MissRow, HostRow)
        query = query.join(ProblemRow, MissRow.problem_id == ProblemRow.id).join(
            DeviceRow, MissRow.device_id == DeviceRow.id
        )
        totals: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        with self._access.read() as connection:
            # Added up here: SQLite's sum() fails beyond 64 bits, and takes a text for 0.
            for source, count, *group in connection.execute(query):
                if source in tuple(Source) and type(count) is int and all(type(value) is str for value in group):
                    totals[tuple(group)][source] += count
        return dict(totals)

    def sums(self, sources: Sequence[str] | None = None, since: datetime | None = None) -> Iterator[HostSum]:
        """Yield the counts by host and day, of some sources, or that changed since then.

        What can't be read is left out.
        """
        query = sa.select(*MissRow.__table__.columns)
        if sources is not None:
            query = query.where(MissRow.served_by.in_(sources))
        if since is not None:
            query = query.where(MissRow.last_seen >= since)
        with self._access.read() as connection:
            selected = connection.execute(query).all()
            hosts = {row.id: row for row in connection.execute(sa.select(*HostRow.__table__.columns))}
            problems = self._facts(connection, ProblemRow, records.to_problem, selected, "problem_id")
            devices = self._facts(connection, DeviceRow, records.to_device, selected, "device_id")

        def to_sum(row: Any) -> HostSum:
            host, problem, device = hosts.get(row.host_id), problems.get(row.problem_id), devices.get(row.device_id)
            if host is None or problem is None or device is None:
                raise StoreError("A count of a host, problem or device that is not stored can't be read.")
            return HostSum(host.uid, row.day, host.origin, records.to_usage(row, problem, device, host.name))

        return self._access.readable(selected, to_sum)

    def _facts(
        self, connection: sa.Connection, table: Any, record_of: Any, selected: Iterable[Any], name: str
    ) -> dict[int, Any]:
        """Return the problems or devices of counts by their ids: each is read once, however many counts it has."""
        ids = sorted({getattr(row, name) for row in selected if type(getattr(row, name)) is int})
        found: dict[int, Problem | Device] = {}
        for start in range(0, len(ids), statements.PAGE):
            query = sa.select(*table.__table__.columns).where(table.id.in_(ids[start : start + statements.PAGE]))
            pairs = self._access.readable(connection.execute(query).all(), lambda row: (row.id, record_of(row)))
            found.update(pairs)
        return found

    def _tuned(self) -> dict[tuple[str, str], datetime]:
        """Return when this store took the newest winner of each missed problem on a device.

        An imported sweep may be older than the miss that it answers, so the time of its arrival counts: not if it
        is still to come.
        """
        missed = sa.exists().where(
            MissRow.problem_id == SweepRow.problem_id,
            MissRow.device_id == SweepRow.device_id,
            MissRow.served_by.in_(MISSES),
        )
        query = (
            sa.select(ProblemRow.kernel, ProblemRow.digest, DeviceRow.digest.label("device"))
            .add_columns(SweepRow.finished, SweepRow.arrived)
            .join_from(SweepRow, ProblemRow)
            .join(DeviceRow, SweepRow.device_id == DeviceRow.id)
            .where(SweepRow.status == "tuned", missed)
        )
        tuned: dict[tuple[str, str], datetime] = {}
        with self._access.read() as connection:
            for row in connection.execute(query):
                moment = row.finished if row.arrived is None else row.arrived
                if isinstance(moment, datetime) and moment.tzinfo is not None and moment <= self._now():
                    key = (f"{row.kernel}{row.digest}", row.device)
                    tuned[key] = max(moment, tuned.get(key, moment))
        return tuned


def _added(usage: UsageCount, other: UsageCount | None = None) -> UsageCount:
    """Return the sum of two counts of one problem, which is no single host's."""
    both = [usage] if other is None else [usage, other]
    return UsageCount(
        usage.problem,
        usage.device,
        usage.source,
        sum(one.count for one in both),
        min(one.first_seen for one in both),
        max(one.last_seen for one in both),
        "",
    )


def _since(tuned: datetime | None, usage: UsageCount) -> datetime | None:
    is_answered = usage.source in MISSES and tuned is not None and tuned >= usage.last_seen
    return tuned if is_answered else None


def _frequency(usage: UsageCount) -> tuple[Any, ...]:
    return -usage.count, -usage.last_seen.timestamp(), usage.problem.kernel, usage.problem.key, usage.device.key
