"""The rows of sweeps and trials: inserted within a transaction, and read back as records."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tunedb.core.canonical import canonical
from tunedb.core.device import Device, Environment, host
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, Sweep, Trial
from tunedb.errors import StoreError
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import Access, AnyRow
from tunedb.store.sql.command_text import about
from tunedb.store.sql.confirmations import Confirmations
from tunedb.store.sql.marks import Marks
from tunedb.store.sql.models import DeviceRow, ProblemRow, SweepRow, TrialRow
from tunedb.store.sql.statements import MAX_SWEEPS

_log = logging.getLogger("tunedb")
_MARKED, _CONFIRMED = "is_marked", "is_confirmed"
_FINISHING = ("status", "complete", "config", "time_us", "default_time_us", "finished", "expires")
WITH_FACTS = (
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
# The statements of a look-up are texts: building one takes SQLAlchemy longer than running it.
_OF_SWEEP = [SweepRow.__table__.c[name] for name in statements.SWEEP]
_OF_PROBLEM, _FIRST_OF_PROBLEM = (
    sa.text(text).columns(*_OF_SWEEP, sa.column(_MARKED, sa.Boolean))
    for text in (statements.OF_PROBLEM, statements.FIRST_OF_PROBLEM)
)
_OF_KERNEL, _NEWEST_WINNERS = (
    sa.text(text).columns(
        *_OF_SWEEP, *({**ProblemRow.__table__.c, **DeviceRow.__table__.c}[name] for name in statements.FACTS)
    )
    for text in (statements.OF_KERNEL, statements.NEWEST_WINNERS)
)


def unfinished_query(problem: Problem, device: Device, kernel_hash: str, environment: Environment) -> sa.Select[int]:
    """Return the query for the ids of this host's own unfinished sweeps, the newest first."""
    return (
        sa.select(SweepRow.id)
        .join_from(SweepRow, ProblemRow)
        .join(DeviceRow)
        .where(ProblemRow.kernel == problem.kernel, ProblemRow.digest == problem.digest)
        .where(DeviceRow.digest == device.digest, SweepRow.kernel_hash == kernel_hash)
        .where(SweepRow.status.in_(("running", "aborted")) | SweepRow.complete.is_(False))
        .where(SweepRow.environment == environment.key)
        .where(SweepRow.origin == "local", SweepRow.host == host())
        .order_by(SweepRow.started.desc(), SweepRow.uid)
    )


class SweepRows:
    """The rows of the tables `sweep` and `trial`."""

    def __init__(self, access: Access, marks: Marks, confirmations: Confirmations, now: Callable[[], datetime]) -> None:
        self._access = access
        self._marks = marks
        self._confirmations = confirmations
        self._now = now

    def put(self, connection: sa.Connection, sweep: Sweep) -> bool:
        """Insert a finished sweep, or finish a running one; return False if it is finished already."""
        self._marks.insert(connection, ((sweep.uid, mark) for mark in sweep.marks))  # also of a sweep that is known
        self._confirmations.insert(connection, ((sweep.uid, one) for one in sweep.confirmations))
        if self.insert_sweep(connection, sweep, rows.counts_of(sweep.trials)):
            sweep_id = connection.scalar(sa.select(SweepRow.id).where(SweepRow.uid == sweep.uid))
            assert sweep_id is not None
            self.insert_trials(connection, sweep_id, sweep.trials)
            return True
        stored = self._stored(connection, sweep.uid)
        if not self._is_of_same(connection, stored, sweep):
            _log.warning(
                "%s has another sweep %s: that of %s is not stored.",
                self._access.database.url,
                sweep.uid,
                sweep.problem.kernel,
            )
            return False
        if stored.status != "running":
            return False
        sweep_id = stored.id
        # The race changed some of those that were kept on the way.
        kept = sa.delete(TrialRow).where(TrialRow.sweep_id == sweep_id, TrialRow.uid == sa.bindparam("trial_uid"))
        if sweep.trials:
            connection.execute(kept, [{"trial_uid": trial.uid} for trial in sweep.trials])
        self.insert_trials(connection, sweep_id, sweep.trials)
        by_status = sa.select(TrialRow.status, sa.func.count()).where(TrialRow.sweep_id == sweep_id)
        counts = {row[0]: row[1] for row in connection.execute(by_status.group_by(TrialRow.status))}
        values = {name: value for name, value in rows.sweep_values(sweep).items() if name in _FINISHING}
        finish = sa.update(SweepRow).where(SweepRow.id == sweep_id, SweepRow.status == "running")
        connection.execute(finish.values(**values, counts=canonical(counts), arrived=self._now()))
        return True

    def _stored(self, connection: sa.Connection, uid: str) -> sa.Row[*tuple[Any, ...]]:
        """Return the row of a sweep that is stored, locked for this transaction."""
        facts = (SweepRow.problem_id, SweepRow.device_id, SweepRow.kernel_hash, SweepRow.environment, SweepRow.host)
        columns = (SweepRow.id, SweepRow.status, *facts)
        return connection.execute(sa.select(*columns).where(SweepRow.uid == uid).with_for_update()).one()

    def _is_of_same(self, connection: sa.Connection, stored: sa.Row[Any], sweep: Sweep) -> bool:
        """Say whether a row is that of the sweep's beginning: a file may give a sweep any uid.

        Without the environment and the host, a time that was measured elsewhere would become one of this machine.
        """
        return (stored.problem_id, stored.device_id, stored.kernel_hash, stored.environment, stored.host) == (
            self._access.problem_id(connection, sweep.problem),
            self._access.device_id(connection, sweep.device),
            sweep.kernel_hash,
            sweep.environment.key,
            sweep.host,
        )

    def is_finished(self, connection: sa.Connection, uid: str) -> bool:
        """Say whether a finished sweep of this uid is stored."""
        query = sa.select(sa.exists().where(SweepRow.uid == uid, SweepRow.status != "running"))
        return bool(connection.scalar(query))

    def running_id(self, connection: sa.Connection, uid: str) -> int | None:
        """Return the id of a running sweep, locked for this transaction; None if no sweep of that uid is running."""
        query = sa.select(SweepRow.id).where(SweepRow.uid == uid, SweepRow.status == "running")
        return connection.scalar(query.with_for_update())  # so that it is not finished meanwhile

    def insert_sweep(self, connection: sa.Connection, sweep: Sweep, counts: dict[str, int]) -> bool:
        """Insert a sweep without its trials; return whether it is new."""
        values = rows.sweep_values(sweep) | {
            "problem_id": self._access.problem_id(connection, sweep.problem),
            "device_id": self._access.device_id(connection, sweep.device),
            "counts": canonical(counts),
            "arrived": None if sweep.finished is None else self._now(),
        }
        return self._access.insert(connection, SweepRow, values)

    def insert_trials(self, connection: sa.Connection, sweep_id: int, trials: Sequence[Trial]) -> None:
        """Insert trials of a sweep, except those that exist."""
        if trials:
            self._access.insert(
                connection, TrialRow, [{"sweep_id": sweep_id, **rows.trial_values(trial)} for trial in trials]
            )

    def listed_query(
        self, kernel: str | None, device_name: str | None, *, finished: bool, latest: int | None
    ) -> sa.Select[int]:
        """Return a query of the ids that `Store.iter_sweeps` yields, in its order."""
        query = sa.select(SweepRow.id).join_from(SweepRow, ProblemRow).join(DeviceRow)
        if kernel is not None:
            query = query.where(ProblemRow.kernel == kernel)
        if device_name is not None:
            query = query.where(DeviceRow.name == device_name)
        if finished:
            query = query.where(SweepRow.status != "running")
        if latest is not None:
            query = query.where(SweepRow.id.in_(query.order_by(SweepRow.id.desc()).limit(latest)))
        texts = (ProblemRow.kernel, ProblemRow.key, DeviceRow.name, DeviceRow.digest)
        return query.order_by(
            *map(self._access.bytewise, texts), SweepRow.finished.is_(None), SweepRow.finished, SweepRow.uid
        )

    def page(self, ids: Sequence[int], *, with_trials: bool) -> Iterator[Sweep]:
        """Yield the sweeps with these ids, in their order."""
        with self._access.read() as connection:
            by_id = {row.id: row for row in connection.execute(WITH_FACTS.where(SweepRow.id.in_(ids)))}
            trials = self.trials(connection, ids) if with_trials else {}
            uids = [row.uid for row in by_id.values()]
            marks, confirmed = self._marks.select(connection, uids), self._confirmations.select(connection, uids)
        here = (by_id[sweep_id] for sweep_id in ids if sweep_id in by_id)  # one may have been removed meanwhile

        def to_sweep(row: AnyRow) -> Sweep:
            sweep = records.to_sweep(
                row, trials.get(row.id, ()), marks[row.uid], confirmations=confirmed.get(row.uid, ())
            )
            if with_trials and sweep.counts and not sweep.trials:
                advice = about("tunedb db check", self._access.database.url)
                raise StoreError(f"The trials of sweep {sweep.uid} can't be read. Run: {advice}")
            return sweep

        yield from self._access.readable(here, to_sweep)

    def of_problem(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the readable finished sweeps of that identity.

        Of more than MAX_SWEEPS those that were pinned come first, then those of this store, then the newest.
        """
        values = statements.identity(problem, device, kernel_hash)
        with self._access.read() as connection:
            selected = connection.execute(_OF_PROBLEM, {**values, "most": MAX_SWEEPS + 1}).all()
            if len(selected) > MAX_SWEEPS:
                selected = connection.execute(_FIRST_OF_PROBLEM, {**values, "most": MAX_SWEEPS}).all()
            marks = self._marks.select(connection, [row.uid for row in selected if getattr(row, _MARKED)])
            uids = [row.uid for row in selected if getattr(row, _CONFIRMED)]
            confirmed = self._confirmations.select(connection, uids)
        return self._records(selected, marks, confirmed, problem=problem, device=device)

    def of_kernel(self, kernel: str, device: Device, kernel_hash: str, most: int | None) -> list[Sweep]:
        """Return the readable finished sweeps of a kernel on a device, the newest first, at most `most`."""
        values = {"kernel": kernel, "device": device.digest, "kernel_hash": kernel_hash}
        return self.select(_OF_KERNEL, {**values, "most": statements.NO_LIMIT if most is None else most}, device=device)

    def tuned_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of."""
        with self._access.read() as connection:
            selected = connection.execute(sa.text(statements.TUNED_DEVICES), {"kernel_hash": kernel_hash}).all()
        return list(self._access.readable(selected, records.to_device))

    def newest(self, kernel: str, device: Device, kernel_hash: str, most: int) -> tuple[list[Sweep], bool]:
        """Return a kernel's readable winners that came last, at most `most`, and whether these are all."""
        values = {"kernel": kernel, "device": device.digest, "kernel_hash": kernel_hash, "most": most + 1}
        with self._access.read() as connection:
            selected = connection.execute(_NEWEST_WINNERS, values).all()
            uids = [row.uid for row in selected[:most]]
            marks, confirmed = self._marks.select(connection, uids), self._confirmations.select(connection, uids)
        return self._records(selected[:most], marks, confirmed, device=device), len(selected) <= most

    def select(self, query: sa.Executable, values: Mapping[str, Any] | None = None, **known: Any) -> list[Sweep]:
        """Return the readable sweeps of a query over `WITH_FACTS`; `known` may give facts that it leaves out."""
        with self._access.read() as connection:
            selected = connection.execute(query, values).all()
            uids = [row.uid for row in selected]
            marks, confirmed = self._marks.select(connection, uids), self._confirmations.select(connection, uids)
        return self._records(selected, marks, confirmed, **known)

    def _records(
        self,
        selected: Sequence[AnyRow],
        marks: Mapping[str, Sequence[Mark]],
        confirmed: Mapping[str, Sequence[Confirmation]],
        **known: Any,
    ) -> list[Sweep]:
        def to_sweep(row: AnyRow) -> Sweep:
            facts = {"marks": marks.get(row.uid, ()), "confirmations": confirmed.get(row.uid, ())}
            return records.to_sweep(row, **facts, **known)  # type: ignore[arg-type]

        return list(self._access.readable(selected, to_sweep))

    def trials(self, connection: sa.Connection, sweep_ids: Sequence[int]) -> dict[int, list[Trial]]:
        """Select the readable trials of these sweeps, by the id of the sweep."""
        query = sa.select(*TrialRow.__table__.columns).where(TrialRow.sweep_id.in_(sweep_ids)).order_by(TrialRow.uid)
        by_sweep: dict[int, list[Trial]] = defaultdict(list)
        selected = connection.execute(query)
        for sweep_id, trial in self._access.readable(selected, lambda row: (row.sweep_id, records.to_trial(row))):
            by_sweep[sweep_id].append(trial)
        return by_sweep

    def wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs whose result was wrong when a sweep of this store last tried them in this environment."""

        values = statements.identity(problem, device, kernel_hash)
        with self._access.read() as connection:
            query = sa.text(statements.WRONG_CONFIGS)
            selected = connection.execute(query, {**values, "environment": environment.key}).all()
        return frozenset(self._access.readable(selected, records.to_config))
