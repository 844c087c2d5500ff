"""What each host counted, as sums that stores exchange: only a host's own store counts up, others take the greater."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tunedb.core.problem import Problem
from tunedb.core.sweep import MISSES, UsageCount, new_uid
from tunedb.store.sql import rows, statements
from tunedb.store.sql.base import PAGE, Access, AnyRow
from tunedb.store.sql.models import HostRow, MissRow, ProblemRow, UtcTime

GONE = "(gone hosts)"  # the name of the sum of all hosts that were not seen for long

_KEY = "host_id, problem_id, device_id, served_by, day"
_FIRST = (
    "first_seen = CASE WHEN excluded.first_seen < miss.first_seen THEN excluded.first_seen ELSE miss.first_seen END"
)
_LAST = "last_seen = CASE WHEN excluded.last_seen > miss.last_seen THEN excluded.last_seen ELSE miss.last_seen END"
_TAKE = sa.text(
    f"INSERT INTO miss ({_KEY}, count, first_seen, last_seen) "
    "VALUES (:host_id, :problem_id, :device_id, :served_by, :day, :count, :first_seen, :last_seen) "
    f"ON CONFLICT ({_KEY}) DO UPDATE SET {_FIRST}, {_LAST}, "
    "count = CASE WHEN excluded.count > miss.count THEN excluded.count ELSE miss.count END "
    "WHERE excluded.count > miss.count OR excluded.last_seen > miss.last_seen "
    "OR excluded.first_seen < miss.first_seen"
).bindparams(sa.bindparam("first_seen", type_=UtcTime()), sa.bindparam("last_seen", type_=UtcTime()))
_MERGE = sa.text(
    f"INSERT INTO miss ({_KEY}, count, first_seen, last_seen) "
    "SELECT :gone, problem_id, device_id, served_by, day, count, first_seen, last_seen "
    "FROM miss AS theirs WHERE host_id = :host "
    f"ON CONFLICT ({_KEY}) DO UPDATE SET {_FIRST}, {_LAST}, "
    "count = CASE WHEN miss.count < :max - excluded.count THEN miss.count + excluded.count ELSE :max END"
)


@dataclass(frozen=True, slots=True)
class HostSum:
    """What one host counted on one day, of one problem on one device by one source."""

    host_uid: str
    day: str
    origin: str  # of the host in the store that it was read from
    usage: UsageCount

    @property
    def is_sendable(self) -> bool:
        """Whether another store may take it: not a sum of merged hosts, of which that store may have some."""
        return self.origin != "gone" and rows.is_uid(self.host_uid)


class Hosts:
    """The hosts whose counts a store has: those that count in it, and those that another store sent."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def own_id(self, connection: sa.Connection, name: str) -> int:
        """Return the id of a host that counts in this store, which is inserted if need be."""
        return self._single(connection, name, "local")

    def take(self, sums: Iterable[HostSum]) -> int:
        """Take what other stores' hosts counted, page by page; return how many sums are new or greater.

        A sum that is there already is replaced by a greater one, so that order and repeats don't matter. Left out are
        hosts that count in this store itself, and days of a host that were merged here: see `merge_gone`.
        """
        ordered = sorted(sums, key=lambda one: one.host_uid)  # so that two that take the same hosts wait in one order
        changed, waiting = 0, iter(ordered)
        while page := list(itertools.islice(waiting, PAGE)):
            for one in page:
                rows.check_uid(one.host_uid)
                rows.check_host(one.usage.host)
                rows.check_day(one.day)
                rows.check_facts(one.usage.problem, one.usage.device)
            with self._access.write() as connection:
                changed += self._take_page(connection, page)
        return changed

    def _take_page(self, connection: sa.Connection, page: list[HostSum]) -> int:
        hosts = {one.host_uid: self._taken(connection, one.host_uid, one.usage.host) for one in _by_host(page)}
        taken = [one for one in page if _is_new(hosts[one.host_uid], one)]
        problems = self._problem_ids(connection, {one.usage.problem for one in taken})
        devices = {device: self._access.device_id(connection, device) for device in {one.usage.device for one in taken}}
        values = [
            {
                "host_id": hosts[one.host_uid].id,
                "problem_id": problems[one.usage.problem],
                "device_id": devices[one.usage.device],
                "served_by": str(one.usage.source),
                "day": one.day,
                "count": min(one.usage.count, statements.MAX_COUNT),
                "first_seen": one.usage.first_seen,
                "last_seen": one.usage.last_seen,
            }
            for one in taken
        ]
        if not values:
            return 0
        changed = connection.execute(_TAKE, values, execution_options={"preserve_rowcount": True}).rowcount
        for host in hosts.values():
            shorten(connection, host.id)
        return changed

    def _problem_ids(self, connection: sa.Connection, problems: Collection[Problem]) -> dict[Problem, int]:
        """Return the ids of problems; those that are stored, as most are, by one query."""
        by_digest = {problem.digest: problem for problem in problems}
        query = sa.select(ProblemRow.id, ProblemRow.kernel, ProblemRow.key, ProblemRow.digest)
        ids = {}
        for row in connection.execute(query.where(ProblemRow.digest.in_(by_digest))):
            problem = by_digest[row.digest]
            if (row.kernel, row.key) == (problem.kernel, problem.key):
                ids[problem] = row.id
        return ids | {one: self._access.problem_id(connection, one) for one in problems if one not in ids}

    def _taken(self, connection: sa.Connection, uid: str, name: str) -> AnyRow:
        """Return the row of another store's host, locked: `merge_gone` of another process must not come between."""
        self._access.insert(
            connection, HostRow, {"uid": uid, "name": name, "own": None, "origin": "imported", "merged": None}
        )
        return connection.execute(_locked(HostRow.uid == uid)).one()

    def gone(self, before: datetime, here: str) -> list[str]:
        """Return the names of the hosts, without the one that is `here`, that were last seen before that time."""
        with self._access.read() as connection:
            return sorted(row.name for row in connection.execute(_gone(before, here)) if isinstance(row.name, str))

    def merge_gone(self, before: datetime, here: str) -> int:
        """Add up what hosts counted that were last seen before that time, under one name; return how many hosts.

        Pods and other short-lived hosts would fill the table. A host that was merged keeps its row with the last day
        that was merged: should it come back, or another store send it again, those days don't count twice.
        """
        merged = 0
        with self._access.read() as connection:
            ids = [row.id for row in connection.execute(_gone(before, here))]
        if not ids:
            return 0
        with self._access.write() as connection:
            gone_id = self._single(connection, GONE, "gone")
            for start in range(0, len(ids), PAGE):
                page = _locked(HostRow.id.in_(ids[start : start + PAGE]))
                for host in connection.execute(page.order_by(HostRow.uid)).all():
                    newest = sa.select(sa.func.max(MissRow.last_seen), sa.func.max(MissRow.day))
                    seen, day = connection.execute(newest.where(MissRow.host_id == host.id)).one()
                    if seen is None or not isinstance(seen, datetime) or seen >= before:
                        continue  # another process merged it, or it was seen again
                    values = {"gone": gone_id, "host": host.id, "max": statements.MAX_COUNT}
                    connection.execute(_MERGE, values)
                    connection.execute(sa.delete(MissRow).where(MissRow.host_id == host.id))
                    until = max(str(day), host.merged or "")
                    connection.execute(sa.update(HostRow).where(HostRow.id == host.id).values(merged=until))
                    merged += 1
        return merged

    def _single(self, connection: sa.Connection, name: str, origin: str) -> int:
        query = sa.select(HostRow.id).where(HostRow.own == name, HostRow.origin == origin)
        found = connection.scalar(query)
        if found is None:
            values = {"uid": new_uid(), "name": name, "own": name, "origin": origin, "merged": None}
            self._access.insert(connection, HostRow, values)  # or another process was faster
            found = connection.scalars(query).one()
        return found


def _by_host(page: Iterable[HostSum]) -> Iterable[HostSum]:
    """Return one sum of each host, in their order: hosts are locked in one order by all."""
    return {one.host_uid: one for one in page}.values()


def _is_new(host: AnyRow, one: HostSum) -> bool:
    return host.origin == "imported" and (host.merged is None or one.day > host.merged)


def _locked(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(*HostRow.__table__.columns).where(*where).with_for_update()


def _gone(before: datetime, here: str) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(HostRow.id, HostRow.name)
        .join_from(HostRow, MissRow)
        .where(HostRow.origin != "gone", ~sa.and_(HostRow.origin == "local", HostRow.name == here))
        .group_by(HostRow.id, HostRow.name)
        .having(sa.func.max(MissRow.last_seen) < sa.bindparam(None, before, UtcTime()))
        .order_by(HostRow.id)
    )


def shorten(connection: sa.Connection, host_id: int) -> None:
    """Remove the counts of a host that were not seen for longest, if there are too many; hits before misses."""
    own = MissRow.host_id == host_id
    total = connection.scalar(sa.select(sa.func.count()).select_from(MissRow).where(own)) or 0
    if total > statements.MAX_ROWS:
        key = [MissRow.host_id, MissRow.problem_id, MissRow.device_id, MissRow.served_by, MissRow.day]
        is_miss = sa.case((MissRow.served_by.in_(MISSES), 1), else_=0)  # hits make room for misses
        oldest = sa.select(*key).where(own).order_by(is_miss, MissRow.last_seen, *key)
        removed = oldest.limit(total - statements.MAX_ROWS)
        connection.execute(sa.delete(MissRow).where(sa.tuple_(*key).in_(removed)))
