"""Look-ups in a store's SQLite file by the standard library's `sqlite3`: importing SQLAlchemy takes half a second.

The rules are those of the whole store: the same statements, records and errors, and the same checks of the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from tunedb._internal import forks, safe_path
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, Sweep, UsageCount, new_uid
from tunedb.errors import StoreUnavailable
from tunedb.store.sql import records, revision, rows, sqlite_file, statements
from tunedb.store.sql.command_text import about
from tunedb.store.sql.records import ReadableRows
from tunedb.store.sql.sqlite_failures import failure_of, unusable

_Values = Mapping[str, Any]
_abandoned: list[_Connection] = []  # of the parent of this forked process: they are neither used nor closed in it


class _Connection(NamedTuple):
    """A connection between two reads, on which no transaction is open, and the state of the file it was checked in."""

    driver: sqlite3.Connection
    file: tuple[int, int]  # device and inode
    schema_version: int  # SQLite's own count of changes of the schema


class SqliteReader:
    """The look-ups of a store in a SQLite file, which has to exist and have this version's schema.

    A connection is kept for the next read until `release`: making one takes twenty times as long as a look-up. It holds
    no lock, and each read checks that the file and its definitions are still the same ones. In a forked child it stays
    as it is, and the child makes its own. Every method raises StoreError if the file can't be read.
    """

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._busy_timeout = busy_timeout
        self._limit = sqlite_file.StatementLimit(max(2 * busy_timeout, sqlite_file.STATEMENT_S))
        self._readable = ReadableRows(self.url, f" Run: {about('tunedb db check', self.url)}")
        self._idle: list[_Connection] = []  # at most one; a read takes it out, so that no two threads share one
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Leave the parent's connection alone in a forked child, for as long as the process lives."""
        _abandoned.extend(self._idle)
        self._idle = []

    def check(self) -> None:
        """Raise StoreError unless the file exists, can be read and has this version's schema."""
        with self._connected():
            pass

    def release(self) -> None:
        """Close the connection that is kept."""
        with contextlib.suppress(IndexError):
            self._idle.pop().driver.close()

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that identity, without trials: see `SweepStore`."""
        values = statements.identity(problem, device, kernel_hash)
        with self._connected() as driver:
            names, most = (*statements.SWEEP, "is_marked", "is_confirmed"), statements.MAX_SWEEPS
            selected = self._rows(driver, statements.OF_PROBLEM, {**values, "most": most + 1}, names)
            if len(selected) > most:
                selected = self._rows(driver, statements.FIRST_OF_PROBLEM, {**values, "most": most}, names)
            marks = self._marks(driver, [row.uid for row in selected if row.is_marked])
            confirmed = self._confirmations(driver, [row.uid for row in selected if row.is_confirmed])
        return records.in_order(self._sweeps(selected, marks, confirmed, problem=problem, device=device))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of a kernel on a device, the newest first: see `SweepStore`."""
        values = {"kernel": kernel, "device": device.digest, "kernel_hash": kernel_hash}
        with self._connected() as driver:
            selected = self._rows(
                driver,
                statements.OF_KERNEL,
                {**values, "most": statements.NO_LIMIT if most is None else most},
                (*statements.SWEEP, *statements.FACTS),
            )
            uids = [row.uid for row in selected]
            marks, confirmed = self._marks(driver, uids), self._confirmations(driver, uids)
        return list(self._sweeps(selected, marks, confirmed, device=device))

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs that were found wrong here: see `SweepStore`."""
        values = {**statements.identity(problem, device, kernel_hash), "environment": environment.key}
        with self._connected() as driver:
            selected = self._rows(driver, statements.WRONG_CONFIGS, values, ("config",))
        return frozenset(self._readable(selected, records.to_config))

    def has_unfinished(self, problem: Problem, device: Device, kernel_hash: str, environment: Environment) -> bool:
        """Say whether there may be unfinished sweeps of that identity: see `SweepStore.get_unfinished`."""
        values = {**statements.identity(problem, device, kernel_hash), "environment": environment.key}
        with self._connected() as driver:
            return bool(self._run(driver, statements.HAS_UNFINISHED, values).fetchone()[0])

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep tried: see `SweepStore`."""
        with self._connected() as driver:
            return records.to_keys(self._rows(driver, statements.TRIED, {"sweep": sweep_uid}, ("config",)))

    def get_hints(self, kernel: str, device: str) -> list[Hint]:
        """Return the newest hints of a kernel on the device with that label: see `SweepStore`."""
        values = statements.hint_values(kernel, device)
        with self._connected() as driver:
            return list(self._readable(self._rows(driver, statements.HINTS, values, statements.HINT), records.to_hint))

    def get_marks_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps, by the uid of the sweep, oldest first."""
        with self._connected() as driver:
            return self._marks(driver, sweep_uids)

    def get_confirmations_of(self, sweep_uids: Sequence[str]) -> dict[str, list[Confirmation]]:
        """Return the confirmations of these sweeps, by the uid of the sweep, the newest first."""
        with self._connected() as driver:
            return self._confirmations(driver, sweep_uids)

    def add_usage(self, counts: Iterable[UsageCount]) -> bool:
        """Add to the usage counts; return False, having added nothing, if that takes the whole store.

        It does if a problem or a device is not stored yet, and if there are so many counts that some have to go.
        """
        counts = list(counts)
        with self._failing():
            driver = sqlite_file.connect(self.path, self._busy_timeout, self._limit)
            with contextlib.closing(driver):
                self._run(driver, "BEGIN IMMEDIATE")
                self._check_revision(driver)
                for host in {usage.host for usage in counts}:
                    rows.check_host(host)
                    self._run(driver, statements.OWN_HOST, {"uid": new_uid(), "host": host})
                for usage in counts:
                    rows.check_facts(usage.problem, usage.device)
                    first, last = rows.text_from_time(usage.first_seen), rows.text_from_time(usage.last_seen)
                    values = statements.count_values(usage) | {"first_seen": first, "last_seen": last}
                    if self._run(driver, statements.COUNT, values).rowcount < 1:
                        return False
                for host in {usage.host for usage in counts}:
                    if self._run(driver, statements.COUNTS, {"host": host}).fetchone()[0] > statements.MAX_ROWS:
                        return False
                self._run(driver, "COMMIT")
        return True

    def _sweeps(
        self,
        selected: Iterable[Any],
        marks: Mapping[str, Sequence[Mark]],
        confirmed: Mapping[str, Sequence[Confirmation]],
        **known: Any,
    ) -> Iterator[Sweep]:
        def to_sweep(row: Any) -> Sweep:
            facts = {"marks": marks.get(row.uid, ()), "confirmations": confirmed.get(row.uid, ())}
            return records.to_sweep(row, **facts, **known)  # type: ignore[arg-type]

        return self._readable(selected, to_sweep)

    def _confirmations(self, driver: sqlite3.Connection, sweep_uids: Sequence[str]) -> dict[str, list[Confirmation]]:
        by_sweep: defaultdict[str, list[Confirmation]] = defaultdict(list)
        uids = [uid for uid in sweep_uids if rows.is_uid(uid)]
        for start in range(0, len(uids), statements.PAGE):
            named = {f"sweep_{n}": uid for n, uid in enumerate(uids[start : start + statements.PAGE])}
            statement = statements.CONFIRMATIONS.replace(":sweeps", f"({', '.join(f':{name}' for name in named)})")
            values = {**named, "most": statements.MAX_MARKS}
            selected = self._rows(driver, statement, values, statements.CONFIRMATION)
            for sweep_uid, confirmation in self._readable(selected, records.to_confirmation):
                by_sweep[sweep_uid].append(confirmation)
        return by_sweep

    def _marks(self, driver: sqlite3.Connection, sweep_uids: Sequence[str]) -> dict[str, list[Mark]]:
        by_sweep: defaultdict[str, list[Mark]] = defaultdict(list)
        uids = [uid for uid in sweep_uids if rows.is_uid(uid)]  # those of unreadable rows can be anything
        for start in range(0, len(uids), statements.PAGE):
            named = {f"sweep_{n}": uid for n, uid in enumerate(uids[start : start + statements.PAGE])}
            asked = f"({', '.join(f':{name}' for name in named)})"

            def select(statement: str, named: _Values = named, asked: str = asked, **values: int) -> list[Any]:
                return self._rows(driver, statement.replace(":sweeps", asked), {**named, **values}, statements.MARK)

            selected = select(statements.MARKS, most=statements.MAX_MARKS + 1)
            if len(selected) > statements.MAX_MARKS:
                selected = select(statements.NEWEST_MARKS, newest=statements.NEWEST)
            for sweep_uid, mark in self._readable(selected, records.to_mark):
                by_sweep[sweep_uid].append(mark)
        return by_sweep

    def _rows(self, driver: sqlite3.Connection, statement: str, values: _Values, names: Sequence[str]) -> list[Any]:
        """Return the rows of a statement, with the values as SQLAlchemy's types give them."""
        converters = [(name, _CONVERTERS[name]) for name in names if name in _CONVERTERS]
        selected = []
        for values_of_row in self._run(driver, statement, values).fetchall():
            row = SimpleNamespace(**dict(zip(names, values_of_row, strict=True)))
            for name, convert in converters:
                setattr(row, name, convert(getattr(row, name)))
            selected.append(row)
        return selected

    def _run(self, driver: sqlite3.Connection, statement: str, values: _Values | None = None) -> sqlite3.Cursor:
        self._limit.begin()
        return driver.execute(statement, values or {})

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that reads. It is kept for the next read, unless this one fails."""
        with self._failing():
            connection = self._take() or self._connect()
            try:
                yield connection.driver
            # Raised again. Whatever it is, an interrupt too: the state of the connection is unknown.
            except BaseException:
                connection.driver.close()
                raise
            if self._idle:
                connection.driver.close()
            else:
                self._idle.append(connection)

    def _take(self) -> _Connection | None:
        """Return the connection that is kept, if the file is still the one that was checked."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        try:
            safe_path.check_beside(self.path, sqlite_file.BESIDE)  # SQLite opens a journal when it reads
            if connection.file == self._file() and connection.schema_version == self._schema_version(connection.driver):
                return connection
        # Whatever it is, an interrupt too: nothing else could close it.
        except BaseException:
            connection.driver.close()
            raise
        connection.driver.close()
        return None

    def _connect(self) -> _Connection:
        file = self._file()
        driver = sqlite_file.connect(self.path, self._busy_timeout, self._limit)
        try:
            self._run(driver, "PRAGMA query_only=ON")
            connection = _Connection(driver, file, self._schema_version(driver))
            self._check_revision(driver)
        # Whatever it is, an interrupt too: nothing else could close it.
        except BaseException:
            driver.close()
            raise
        return connection

    def _file(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _schema_version(self, driver: sqlite3.Connection) -> int:
        (version,) = self._run(driver, "PRAGMA schema_version").fetchone()
        return int(version)

    def _check_revision(self, driver: sqlite3.Connection) -> None:
        stored = [number for (number,) in self._run(driver, statements.REVISIONS).fetchall()]
        if stored != [revision.HEAD]:
            raise StoreUnavailable(
                f"Found schema {stored!r:.100} in {self.url}, expected {revision.HEAD}. "
                f"Run: {about('tunedb db current', self.url)}"
            )

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._limit.raise_signals()
            raise failure_of(error, self.url, self.path) from error
        except OSError as error:
            raise unusable(self.url, error) from error


def _bool(value: object) -> bool | None:
    return None if value is None else bool(value)


_CONVERTERS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(statements.TIMES, rows.time_from_text),
    "complete": _bool,
}
