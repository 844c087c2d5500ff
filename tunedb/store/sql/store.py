"""A store in a database: records go in and come out, each call in a short transaction of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from types import TracebackType
from typing import Literal, Self, overload

import sqlalchemy as sa

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Problem
from tunedb.core.sweep import FINISHED, Sweep, Trial, UsageCount
from tunedb.errors import StoreError, UnknownSweep
from tunedb.store.interface import SweepStore
from tunedb.store.sql import rows, schema
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.engine import Database, locate
from tunedb.store.sql.marks import Marks
from tunedb.store.sql.models import DeviceRow, ProblemRow, SweepRow, TrialRow
from tunedb.store.sql.sweep_rows import WITH_FACTS, SweepRows
from tunedb.store.sql.upkeep import Upkeep
from tunedb.store.sql.usage import UsageCounts

_log = logging.getLogger("tunedb")


@overload
def open_store(
    url_or_path: str, *, busy_timeout: float = ..., migrate: bool = ..., create: Literal[True] = ...
) -> Store: ...
@overload
def open_store(url_or_path: str, *, busy_timeout: float = ..., migrate: bool = ..., create: bool) -> Store | None: ...
def open_store(
    url_or_path: str, *, busy_timeout: float = 30.0, migrate: bool = True, create: bool = True
) -> Store | None:
    """Open the store at a path or an SQLAlchemy URL (`sqlite://` is one in memory).

    A SQLite file is made if it does not exist, replaced if it is damaged (the damaged one is kept next to it), and
    with `migrate` upgraded to this version's schema. With `create=False` nothing is made or replaced, and None is
    returned if there is no store. A PostgreSQL store is never changed by opening it: see `upgrade`.

    `busy_timeout` is the number of seconds to wait for another writer. Raises StoreError.
    """
    database = locate(url_or_path, busy_timeout=busy_timeout)
    if not schema.prepare(database, migrate=migrate, create=create):
        return None
    return Store(database, replace_damaged=create)


class Store(SweepStore):
    """A store in one database, opened by `open_store`: sweeps, `marks`, `usage` counts, and `upkeep` of all sweeps.

    Every method raises StoreError if the database fails, and ValueError for a record that can't be kept.
    """

    def __init__(self, database: Database, *, replace_damaged: bool = True) -> None:
        self._access = Access(database, replace_damaged=replace_damaged)
        self.url = database.url  # printable: without the password
        self.marks = Marks(self._access)
        self.usage = UsageCounts(self._access)
        self.upkeep = Upkeep(self._access)
        self._rows = SweepRows(self._access, self.marks)

    def close(self) -> None:
        """Forget the database; a database in memory is lost."""
        self._access.database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts."""
        self.usage.add(counts)

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep, so that its trials can be kept as they are measured."""
        rows.check_sweep(sweep)
        if sweep.status != "running":
            raise ValueError(f"expected a running sweep, got a {sweep.status} one")
        with self._access.write() as connection:
            self._rows.insert_sweep(connection, sweep, {})

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep; it replaces an earlier trial with its uid.

        Raises StoreError if no such sweep is running.
        """
        rows.check_trial(trial)
        with self._access.write() as connection:
            sweep_id = self._rows.running_id(connection, sweep_uid)
            if sweep_id is None:
                raise StoreError(f"No sweep {sweep_uid} is running in {self.url}: its trial was not stored.")
            if not self._access.insert(connection, TrialRow, {"sweep_id": sweep_id, **rows.trial_values(trial)}):
                before = sa.delete(TrialRow).where(TrialRow.sweep_id == sweep_id, TrialRow.uid == trial.uid)
                connection.execute(before)
                self._rows.insert_trials(connection, sweep_id, [trial])

    def finish_sweep(self, sweep: Sweep) -> None:
        """Give a running sweep its outcome, and the trials that it lacks. A finished one stays as it is."""
        self.put_sweep(sweep)

    def put_sweep(self, sweep: Sweep) -> bool:
        """Keep a whole finished sweep; return False if one of that uid is known, which stays as it is."""
        return self.put_sweeps([sweep])[0] == 1

    def put_sweeps(self, sweeps: Iterable[Sweep]) -> tuple[int, int]:
        """Keep whole finished sweeps in one transaction, all or none; return how many are new, and how many known."""
        sweeps = list(sweeps)  # before the transaction: a slow source, or this very store, must not hold it open
        for sweep in sweeps:
            rows.check_sweep(sweep)
            if sweep.status not in FINISHED:
                raise ValueError(f"expected a finished sweep, got a {sweep.status} one")
        with self._access.write() as connection:
            fresh = [sweep for sweep in sweeps if self._rows.put(connection, sweep)]
            for sweep in fresh:
                if sweep.status == "tuned":
                    self.usage.forget_misses(connection, sweep)
        return len(fresh), len(sweeps) - len(fresh)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that problem, device and kernel: without trials, with their counts."""
        query = (
            sa.select(*SweepRow.__table__.columns)
            .join_from(SweepRow, ProblemRow)
            .join(DeviceRow)
            .where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
            .where(DeviceRow.digest == device.digest, SweepRow.kernel_hash == kernel_hash)
            .where(SweepRow.status != "running")
            .order_by(SweepRow.finished, SweepRow.uid)
        )
        return self._rows.select(query, problem=problem, device=device)

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment, most: int = 5
    ) -> list[Sweep]:
        """Return unfinished sweeps of this problem with their trials, the newest first, at most `most`.

        Unfinished are running sweeps (their process may be gone), aborted ones and those that were cut short.
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
        with self._access.read() as connection:
            ids = connection.scalars(query).all()
        return list(self._rows.page(ids, with_trials=True))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of all problems of that kernel on that device, the newest first, at most `most`.

        They come without trials, with their counts.
        """
        query = (
            WITH_FACTS.where(ProblemRow.kernel == kernel, DeviceRow.digest == device.digest)
            .where(SweepRow.kernel_hash == kernel_hash, SweepRow.status != "running")
            .order_by(SweepRow.finished.desc(), SweepRow.uid)
            .limit(most)
        )
        return self._rows.select(query, device=device)

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the finished sweeps of that problem on any device, of any kernel hash, without trials."""
        query = (
            WITH_FACTS.where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
            .where(SweepRow.status != "running")
            .order_by(SweepRow.finished, SweepRow.uid)
        )
        return self._rows.select(query, problem=problem)

    def get_sweep(self, uid: str) -> Sweep:
        """Return the sweep with this uid, or with the only uid that starts like this, and its trials.

        Raises UnknownSweep, a LookupError.
        """
        if not re.fullmatch(r"[0-9a-f]{1,32}", uid):
            raise UnknownSweep(f"Expected the beginning of a sweep's uid, got {uid!r}. Run: tunedb ls")
        with self._access.read() as connection:
            matches = connection.execute(WITH_FACTS.where(SweepRow.uid.startswith(uid)).limit(2)).all()
            if len(matches) != 1:
                several = "More than one sweep has" if matches else "No sweep has"
                raise UnknownSweep(f"{several} a uid that starts with {uid} in {self.url}. Run: tunedb ls")
            trials = self._rows.trials(connection, [matches[0].id])[matches[0].id]
            marks = self.marks.select(connection, [matches[0].uid])[matches[0].uid]
        return rows.to_sweep(matches[0], trials, marks)

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        with_trials: bool = False,
    ) -> Iterator[Sweep]:
        """Yield the sweeps by kernel, problem, device, time of finish and uid; running ones only without `finished`.

        Reads page by page, so that a slow consumer does not block writers.
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
            *map(self._access.bytewise, texts), SweepRow.finished.is_(None), SweepRow.finished, SweepRow.uid
        )
        with self._access.read() as connection:
            ids = connection.scalars(query).all()
        for start in range(0, len(ids), PAGE):
            yield from self._rows.page(ids[start : start + PAGE], with_trials=with_trials)

    def get_whole(self, uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with these uids and their trials, page by page; those that can't be read are left out."""
        ordered = sorted(uids)
        for start in range(0, len(ordered), PAGE):
            query = sa.select(SweepRow.id).where(SweepRow.uid.in_(ordered[start : start + PAGE]))
            with self._access.read() as connection:
                ids = connection.scalars(query.order_by(SweepRow.uid)).all()
            yield list(self._rows.page(ids, with_trials=True))
