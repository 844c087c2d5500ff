"""The store: sweeps and trials go in and come out as records, each call in a short transaction of its own."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import sqlalchemy as sa

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Problem, canonical
from tunedb.core.sweep import FINISHED, Sweep, Trial
from tunedb.errors import StoreError, UnknownSweep
from tunedb.store.sql import rows, schema
from tunedb.store.sql.base import PAGE
from tunedb.store.sql.engine import locate
from tunedb.store.sql.marks import Upkeep
from tunedb.store.sql.models import DeviceRow, ProblemRow, SweepRow, TrialRow
from tunedb.store.sql.usage import UsageTable

_log = logging.getLogger("tunedb")
_FINISHING = ("status", "complete", "config", "time_us", "default_time_us", "finished", "expires")
_WITH_FACTS = (
    sa.select(
        *SweepRow.__table__.columns,
        ProblemRow.kernel,
        ProblemRow.key,
        DeviceRow.name,
        DeviceRow.backend,
        DeviceRow.arch,
        DeviceRow.multiprocessors,
        DeviceRow.info,
    )
    .join_from(SweepRow, ProblemRow)
    .join(DeviceRow)
)


@overload
def open_store(
    url_or_path: str, *, busy_timeout: float = ..., migrate: bool = ..., create: Literal[True] = ...
) -> Store: ...
@overload
def open_store(url_or_path: str, *, busy_timeout: float = ..., migrate: bool = ..., create: bool) -> Store | None: ...
def open_store(
    url_or_path: str, *, busy_timeout: float = 30.0, migrate: bool = True, create: bool = True
) -> Store | None:
    """The store at a path or an SQLAlchemy URL (`sqlite://` is one in memory).

    A SQLite file is made where there is none, replaced where it is damaged (the damaged one is kept beside it), and
    with `migrate` brought to this version's schema. With `create=False` nothing is made or replaced: the answer is
    None where there is no store. A PostgreSQL store is never changed by opening it: see `upgrade`.

    `busy_timeout` is the number of seconds to wait for another writer. Raises StoreError.
    """
    database = locate(url_or_path, busy_timeout=busy_timeout)
    if not schema.prepare(database, migrate=migrate, create=create):
        return None
    return Store(database, replace_damaged=create)


class Store(Upkeep, UsageTable):
    """A store of sweeps: made by `open_store`, safe to use from several threads and after a fork.

    Every method raises StoreError where the database fails, and ValueError for a record that can't be kept.
    """

    _has_passed_over = False  # a row that can't be read: said once

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a sweep that is `running`, so that its trials can be kept as they are measured."""
        rows.check_sweep(sweep)
        if sweep.status != "running":
            raise ValueError(f"found a {sweep.status} sweep, needed a running one")
        with self._write() as connection:
            self._insert_sweep(connection, sweep, {})

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep, in the place of what was kept of it before.

        Raises StoreError where no such sweep is running.
        """
        rows.check_trial(trial)
        with self._write() as connection:
            sweep_id = self._running(connection, sweep_uid)
            if sweep_id is None:
                raise StoreError(f"No sweep {sweep_uid} is running in {self.url}: its trial was not stored.")
            if not self._insert(connection, TrialRow, {"sweep_id": sweep_id, **rows.trial_values(trial)}):
                before = sa.delete(TrialRow).where(TrialRow.sweep_id == sweep_id, TrialRow.uid == trial.uid)
                connection.execute(before)
                self._insert_trials(connection, sweep_id, [trial])

    def finish_sweep(self, sweep: Sweep) -> None:
        """Give a running sweep its outcome, and the trials that it lacks. One that is finished stays as it is."""
        self.put_sweep(sweep)

    def is_written(self, sweep_uid: str, *, try_again: bool = False) -> bool:  # noqa: ARG002 (as a shelf's)
        """True: nothing waits here (see `GuardedStore.is_written`)."""
        return True

    def put_sweep(self, sweep: Sweep) -> bool:
        """Keep a whole finished sweep; False where a finished sweep of that uid is known, which stays as it is."""
        return self.put_sweeps([sweep])[0] == 1

    def put_sweeps(self, sweeps: Iterable[Sweep]) -> tuple[int, int]:
        """`put_sweep` for many in one transaction: all or none. Returns how many were stored, and how many known."""
        sweeps = list(sweeps)  # before the transaction: nobody waits for a slow source, or for this very store
        for sweep in sweeps:
            rows.check_sweep(sweep)
            if sweep.status not in FINISHED:
                raise ValueError(f"found a {sweep.status} sweep, needed a finished one")
        with self._write() as connection:
            fresh = [sweep for sweep in sweeps if self._put(connection, sweep)]
            for sweep in fresh:
                if sweep.status == "tuned":
                    self._settle(connection, sweep)
        return len(fresh), len(sweeps) - len(fresh)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """The finished sweeps of that problem, device and kernel: without trials, with their counts."""
        query = (
            sa.select(*SweepRow.__table__.columns)
            .join_from(SweepRow, ProblemRow)
            .join(DeviceRow)
            .where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
            .where(DeviceRow.digest == device.digest, SweepRow.kernel_hash == kernel_hash)
            .where(SweepRow.status != "running")
            .order_by(SweepRow.finished, SweepRow.uid)
        )
        return self._finished(query, problem=problem, device=device)

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment, most: int = 5
    ) -> list[Sweep]:
        """The sweeps of all that which did not get through, the newest first, `most` of them, with their trials.

        Those are the running ones (whose process may be gone), the aborted ones and those that were cut short.
        """
        query = (
            sa.select(SweepRow.id)
            .join_from(SweepRow, ProblemRow)
            .join(DeviceRow)
            .where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
            .where(DeviceRow.digest == device.digest, SweepRow.kernel_hash == kernel_hash)
            .where(SweepRow.status.in_(("running", "aborted")) | SweepRow.complete.is_(False))
            .where(SweepRow.environment == environment.key)
            .order_by(SweepRow.started.desc(), SweepRow.uid)
            .limit(most)
        )
        with self._read() as connection:
            ids = connection.scalars(query).all()
        return list(self._page(ids, with_trials=True))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """The finished sweeps of all problems of that kernel on that device, the newest first, `most` of them.

        Without trials, with their counts.
        """
        query = (
            _WITH_FACTS.where(ProblemRow.kernel == kernel, DeviceRow.digest == device.digest)
            .where(SweepRow.kernel_hash == kernel_hash, SweepRow.status != "running")
            .order_by(SweepRow.finished.desc(), SweepRow.uid)
            .limit(most)
        )
        return self._finished(query, device=device)

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """The finished sweeps of that problem on any device, for any source of its kernel: without trials."""
        query = (
            _WITH_FACTS.where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
            .where(SweepRow.status != "running")
            .order_by(SweepRow.finished, SweepRow.uid)
        )
        return self._finished(query, problem=problem)

    def get_sweep(self, uid: str) -> Sweep:
        """The sweep with this uid, or with the only uid that starts like this, and its trials.

        Raises UnknownSweep, a LookupError.
        """
        if not re.fullmatch(r"[0-9a-f]{1,32}", uid):
            raise UnknownSweep(f"Found {uid!r}, needed the beginning of a sweep's uid. Run: tunedb ls")
        with self._read() as connection:
            found = connection.execute(_WITH_FACTS.where(SweepRow.uid.startswith(uid)).limit(2)).all()
            if len(found) != 1:
                several = "More than one sweep has" if found else "No sweep has"
                raise UnknownSweep(f"{several} a uid that starts with {uid} in {self.url}. Run: tunedb ls")
            trials = self._trials(connection, [found[0].id])[found[0].id]
            marks = self._marks(connection, [found[0].uid])[found[0].uid]
        return rows.to_sweep(found[0], trials, marks)

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        with_trials: bool = False,
    ) -> Iterator[Sweep]:
        """The sweeps, ordered by kernel, problem, device, time of finish and uid; the running ones on request.

        Read page by page, so that a slow consumer holds up no writer.
        """
        query = sa.select(SweepRow.id).join_from(SweepRow, ProblemRow).join(DeviceRow)
        if kernel is not None:
            query = query.where(ProblemRow.kernel == kernel)
        if device_name is not None:
            query = query.where(DeviceRow.name == device_name)
        if finished:
            query = query.where(SweepRow.status != "running")
        texts = (ProblemRow.kernel, ProblemRow.key, DeviceRow.name, DeviceRow.digest)
        query = query.order_by(
            *map(self._bytewise, texts), SweepRow.finished.is_(None), SweepRow.finished, SweepRow.uid
        )
        with self._read() as connection:
            ids = connection.scalars(query).all()
        for start in range(0, len(ids), PAGE):
            yield from self._page(ids[start : start + PAGE], with_trials)

    def get_whole(self, uids: Collection[str]) -> Iterator[list[Sweep]]:
        """The sweeps with these uids and their trials, page by page; those that can't be read are left out."""
        ordered = sorted(uids)
        for start in range(0, len(ordered), PAGE):
            query = sa.select(SweepRow.id).where(SweepRow.uid.in_(ordered[start : start + PAGE]))
            with self._read() as connection:
                ids = connection.scalars(query.order_by(SweepRow.uid)).all()
            yield list(self._page(ids, with_trials=True))

    def _put(self, connection: sa.Connection, sweep: Sweep) -> bool:
        self._insert_marks(connection, ((sweep.uid, mark) for mark in sweep.marks))  # also of a sweep that is known
        if self._insert_sweep(connection, sweep, rows.counts_of(sweep.trials)):
            sweep_id = connection.scalar(sa.select(SweepRow.id).where(SweepRow.uid == sweep.uid))
            assert sweep_id is not None
            self._insert_trials(connection, sweep_id, sweep.trials)
            return True
        sweep_id = self._running(connection, sweep.uid)
        if sweep_id is None:
            return False
        self._insert_trials(connection, sweep_id, sweep.trials)
        by_status = sa.select(TrialRow.status, sa.func.count()).where(TrialRow.sweep_id == sweep_id)
        counts = {row[0]: row[1] for row in connection.execute(by_status.group_by(TrialRow.status))}
        values = {name: value for name, value in rows.sweep_values(sweep).items() if name in _FINISHING}
        finish = sa.update(SweepRow).where(SweepRow.id == sweep_id, SweepRow.status == "running")
        connection.execute(finish.values(**values, counts=canonical(counts)))
        return True

    def _running(self, connection: sa.Connection, uid: str) -> int | None:
        query = sa.select(SweepRow.id).where(SweepRow.uid == uid, SweepRow.status == "running")
        return connection.scalar(query.with_for_update())  # nobody finishes it while we add to it

    def _insert_sweep(self, connection: sa.Connection, sweep: Sweep, counts: dict[str, int]) -> bool:
        """Whether the sweep is new."""
        values = rows.sweep_values(sweep) | {
            "problem_id": self._problem_id(connection, sweep.problem),
            "device_id": self._device_id(connection, sweep.device),
            "counts": canonical(counts),
        }
        return self._insert(connection, SweepRow, values)

    def _insert_trials(self, connection: sa.Connection, sweep_id: int, trials: Sequence[Trial]) -> None:
        if trials:
            self._insert(connection, TrialRow, [{"sweep_id": sweep_id, **rows.trial_values(one)} for one in trials])

    def _page(self, ids: Sequence[int], with_trials: bool) -> Iterator[Sweep]:
        with self._read() as connection:
            found = {row.id: row for row in connection.execute(_WITH_FACTS.where(SweepRow.id.in_(ids)))}
            trials = self._trials(connection, ids) if with_trials else {}
            marks = self._marks(connection, [row.uid for row in found.values()])
        for sweep_id in ids:
            if sweep_id in found:  # it may have been removed meanwhile
                row = found[sweep_id]
                yield from self._readable(row, trials.get(sweep_id, ()), marks[row.uid])

    def _finished(self, query: sa.Select[Any], **known: Any) -> list[Sweep]:
        with self._read() as connection:
            found = connection.execute(query).all()
            marks = self._marks(connection, [row.uid for row in found])
        return [sweep for row in found for sweep in self._readable(row, marks=marks[row.uid], **known)]

    def _readable(self, row: sa.Row[*tuple[Any, ...]], *parts: Any, **known: Any) -> list[Sweep]:
        """The sweep, or nothing where someone wrote what this version can't read: the others still answer."""
        try:
            return [rows.to_sweep(row, *parts, **known)]
        except StoreError as error:
            if not self._has_passed_over:
                self._has_passed_over = True
                _log.warning("%s: %s It is passed over, and so are others like it.", self.url, error)
            return []

    def _trials(self, connection: sa.Connection, sweep_ids: Sequence[int]) -> dict[int, list[sa.Row[Any]]]:
        query = sa.select(*TrialRow.__table__.columns).where(TrialRow.sweep_id.in_(sweep_ids)).order_by(TrialRow.uid)
        found = defaultdict(list)
        for row in connection.execute(query):
            found[row.sweep_id].append(row)
        return found
