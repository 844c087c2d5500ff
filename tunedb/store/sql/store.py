"""A store in a database: records go in and come out, each call in a short transaction of its own."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from tunedb.core.claim import Claim, Claimant
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import FINISHED, Confirmation, Mark, MarkKind, Sweep, Trial, UsageCount
from tunedb.core.sweep import now as utc_now
from tunedb.errors import AmbiguousUid, StoreError, UnknownSweep
from tunedb.store.claim_keeper import ClaimKeeper, Publication
from tunedb.store.interface import SweepStore
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.base import PAGE, Access
from tunedb.store.sql.claims import Claims
from tunedb.store.sql.command_text import about
from tunedb.store.sql.confirmations import Confirmations
from tunedb.store.sql.copy_rates import CopyRates
from tunedb.store.sql.engine import Database
from tunedb.store.sql.hints import Hints
from tunedb.store.sql.hosts import HostSum
from tunedb.store.sql.marks import Marks
from tunedb.store.sql.models import ProblemRow, SweepRow, TrialRow
from tunedb.store.sql.publishing import Publishing
from tunedb.store.sql.records import in_order
from tunedb.store.sql.store_claims import StoreClaims
from tunedb.store.sql.sweep_rows import WITH_FACTS, SweepRows, unfinished_query
from tunedb.store.sql.upkeep import Upkeep
from tunedb.store.sql.usage import UsageCounts

UID_DIGITS = 32
PAGE_S = 0.2  # for which one transaction takes sweeps: less than a call waits for another process's write
PAUSE_S = 0.05  # between two transactions: SQLite's waiting writers look every 50 ms at first


class Store(SweepStore):
    """A store in one database, opened by `open_store`: sweeps, and in parts of their own `marks`, `claims`, `usage`
    counts, `hints`, `copy_rates` of devices, and `upkeep` of all sweeps.

    Every method raises StoreError if the database fails, and ValueError for a record that can't be kept.
    """

    def __init__(
        self,
        database: Database,
        *,
        replace_damaged: bool = True,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._access = Access(database, replace_damaged=replace_damaged)
        self.url = database.url  # printable: without the password
        self.marks = Marks(self._access)
        self.claims = Claims(self._access)
        self.usage = UsageCounts(self._access, now)
        self.upkeep = Upkeep(self._access)
        self.confirmations = Confirmations(self._access)
        self.hints = Hints(self._access, now)
        self.copy_rates = CopyRates(self._access)
        self._rows = SweepRows(self._access, self.marks, self.confirmations, now)
        self._publishing = Publishing(self._access, self._rows, self.claims)

    def close(self) -> None:
        """Forget the database; a database in memory is lost."""
        self._access.database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def whole(self) -> Store:
        """This store, which has all methods."""
        return self

    @property
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """The claims of this store."""
        return (StoreClaims(self.claims, self.publish),)

    def withdraw(self, sweep_uid: str, reason: str) -> None:
        """Quarantine a sweep."""
        self.marks.put(sweep_uid, Mark(MarkKind.QUARANTINE, reason))

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts."""
        self.usage.add(counts)

    def get_own_counts(self, since: datetime) -> list[HostSum]:
        """Return what hosts counted in this store since then, by host and day, for a shared store."""
        return [one for one in self.usage.sums(since=since) if one.origin == "local"]

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
        """Give a running sweep its outcome and its trials, as they ended. A finished one stays as it is."""
        self.put_sweep(sweep)

    def put_sweep(self, sweep: Sweep) -> bool:
        """Keep a whole finished sweep; return False if one of that uid is known, which stays as it is."""
        return self.put_sweeps([sweep])[0] == 1

    def put_sweeps(self, sweeps: Iterable[Sweep]) -> tuple[int, int]:
        """Keep whole finished sweeps, page by page; return how many are new, and how many known.

        Each page is a short transaction, and others get a turn in between. If one fails, those before it are kept, and
        putting all of them again adds the others.
        """
        waiting, new, known = iter(sweeps), 0, 0
        while page := list(itertools.islice(waiting, PAGE)):  # read before the transaction: the source may be slow
            for sweep in page:
                rows.check_sweep(sweep)
                if sweep.status not in FINISHED:
                    raise ValueError(f"expected a finished sweep, got a {sweep.status} one")
            while page:
                if new + known:
                    time.sleep(PAUSE_S)
                fresh, done = self._put_page(page)
                new, known, page = new + fresh, known + done - fresh, page[done:]
        return new, known

    def _put_page(self, sweeps: Sequence[Sweep]) -> tuple[int, int]:
        """Keep sweeps for as long as a transaction may take; return how many are new, and how many were looked at."""
        new, done, until = 0, 0, time.monotonic() + PAGE_S
        with self._access.write() as connection:
            for sweep in sweeps:
                done += 1
                new += self._rows.put(connection, sweep)
                if time.monotonic() > until:
                    break
        return new, done

    def publish(self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool) -> Publication:
        """Keep a whole finished sweep and give back its claim, both or neither. A second time changes nothing.

        Nothing is kept if another process has taken the claim over. A sweep without a claim is not kept either if
        another process has claimed its problem, or published a sweep of it in the same environment: at any time if it
        `is_first`, which says that nothing was stored when it began, else since it began.
        """
        return self._publishing.publish(sweep, claim, claimant, is_first=is_first)

    def publish_late(self, sweep: Sweep, claim: Claim | None, claimant: Claimant, *, is_first: bool) -> Publication:
        """Publish a sweep that its process uses already: it yields only to another sweep that is stored.

        UNKNOWN, and nothing is kept, while another process holds the claim: its sweep may fail.
        """
        return self._publishing.publish_late(sweep, claim, claimant, is_first=is_first)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity, without trials; of very many only the part that counts."""
        return in_order(self._rows.of_problem(problem, device, kernel_hash))

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs whose result was wrong when a sweep of this store last tried them in this environment."""
        return self._rows.wrong_configs(problem, device, kernel_hash, environment)

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of."""
        return self._rows.tuned_devices(kernel_hash)

    def get_hints(self, kernel: str, device: str) -> list[Hint]:
        """Return the newest hints of a kernel on the device with that label."""
        return self.hints.get(kernel, device)

    def get_marks_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps, by the uid of the sweep, oldest first."""
        return self.marks.get_of(sweep_uids)

    def get_confirmations_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Confirmation]]:
        """Return the confirmations of these sweeps, by the uid of the sweep, the newest first."""
        return self.confirmations.get_of(sweep_uids)

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep tried, for any of its trials."""
        with self._access.read() as connection:
            return records.to_keys(connection.execute(sa.text(statements.TRIED), {"sweep": sweep_uid}))

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment, most: int = 5
    ) -> list[Sweep]:
        """Return this host's own unfinished sweeps of this problem with trials, the newest first, at most `most`.

        Unfinished are running sweeps (their process may be gone), aborted ones and those that were cut short.
        """
        query = unfinished_query(problem, device, kernel_hash, environment).limit(most)
        with self._access.read() as connection:
            ids = connection.scalars(query).all()
        return list(self._rows.page(ids, with_trials=True))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of all problems of that kernel on that device, the newest first, at most `most`.

        They come without trials, with their counts.
        """
        return self._rows.of_kernel(kernel, device, kernel_hash, most)

    def get_newest(self, kernel: str, device: Device, kernel_hash: str, most: int) -> tuple[list[Sweep], bool]:
        """Return the tuned sweeps of a kernel on a device that came last, at most `most`, and whether these are all."""
        return self._rows.newest(kernel, device, kernel_hash, most)

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
        see = f"Run: {about('tunedb ls', self.url)}"
        if not re.fullmatch(r"[0-9a-f]{1,32}", uid):
            raise UnknownSweep(f"Expected the beginning of a sweep's uid, got {uid!r}. {see}")
        query = WITH_FACTS.where(SweepRow.uid.startswith(uid), sa.func.length(SweepRow.uid) == UID_DIGITS).limit(2)
        with self._access.read() as connection:
            matches = [row for row in connection.execute(query) if rows.is_uid(row.uid)]
            if len(matches) != 1:
                kind, several = (AmbiguousUid, "More than one sweep") if matches else (UnknownSweep, "No sweep")
                raise kind(f"{several} has a uid that starts with {uid} in {self.url}. {see}")
            trials = self._rows.trials(connection, [matches[0].id]).get(matches[0].id, ())
            uid = matches[0].uid
            marks = self.marks.select(connection, [uid])[uid]
            confirmations = self.confirmations.select(connection, [uid]).get(uid, ())
        return records.to_sweep(matches[0], trials, marks, confirmations=confirmations)

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        with_trials: bool = False,
        latest: int | None = None,
    ) -> Iterator[Sweep]:
        """Yield the sweeps by kernel, problem, device, time of finish and uid; running ones only without `finished`.

        With `latest`, only as many as that, those that came last.

        Reads page by page, so that a slow consumer does not block writers.
        """
        query = self._rows.listed_query(kernel, device_name, finished=finished, latest=latest)
        with self._access.read() as connection:
            ids = connection.scalars(query).all()
        for start in range(0, len(ids), PAGE):
            yield from self._rows.page(ids[start : start + PAGE], with_trials=with_trials)

    def get_whole(self, uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with these uids and their trials, page by page; those that can't be read are left out."""
        ordered = sorted(filter(rows.is_uid, uids))
        for start in range(0, len(ordered), PAGE):
            query = sa.select(SweepRow.id).where(SweepRow.uid.in_(ordered[start : start + PAGE]))
            with self._access.read() as connection:
                ids = connection.scalars(query.order_by(SweepRow.uid)).all()
            yield list(self._rows.page(ids, with_trials=True))
