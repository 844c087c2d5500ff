"""Reads one bundle by the standard library's `sqlite3`: what is in the file is data, and nothing of it is run."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Layer, Sweep, Trial
from tunedb.errors import StoreUnavailable
from tunedb.store.bundle import file_format
from tunedb.store.bundle.sources import BundleSource
from tunedb.store.sql import records, rows, statements
from tunedb.store.sql.sqlite_failures import first_line

_SWEEP = (
    "id", "uid", "environment", "complete", "config", "time_us", "default_time_us", "counts", "started", "finished",
    "kernel", "kernel_hash", "key", "name", "backend", "arch", "multiprocessors", "info",
)  # fmt: skip
_SELECT = (
    "SELECT sweep.id, sweep.uid, environment.key, sweep.complete, sweep.config, sweep.time_us, sweep.default_time_us, "
    "sweep.counts, sweep.started, sweep.finished, kernel.name, kernel.hash, sweep.problem, "
    "device.name, device.backend, device.arch, device.multiprocessors, device.info "
    # SQLite joins in the order of CROSS JOINs: kernels and devices are few.
    "FROM kernel CROSS JOIN device CROSS JOIN sweep CROSS JOIN environment "
    "WHERE sweep.kernel = kernel.id AND sweep.device = device.id AND environment.id = sweep.environment"
)
_OF_KERNEL = f"{_SELECT} AND kernel.name = :kernel AND kernel.hash = :kernel_hash AND device.digest = :device"
_NEWEST_OF_KERNEL = f"{_OF_KERNEL} ORDER BY sweep.finished DESC, sweep.uid LIMIT :most"
_OF_PROBLEM = f"{_OF_KERNEL} AND sweep.problem = :problem LIMIT {statements.MAX_SWEEPS}"
_BY_UID = f"{_SELECT} AND substr(sweep.uid, 1, length(:uid)) = :uid LIMIT 2"
_ALL = f"{_SELECT} ORDER BY kernel.name, sweep.problem, device.name, sweep.id"
_TRIAL = ("uid", "config", "status", "outcome", "reference", *rows.TIMES, *rows.NUMBERS)


class Bundle:
    """One bundle, opened: its sweeps, without what concerns the machines that tuned them.

    Raises StoreUnavailable if it is not one that tunedb wrote, of this version and undamaged; later reads raise
    sqlite3.Error if the file fails.
    """

    def __init__(self, source: BundleSource) -> None:
        self.name = source.name
        self._readable = records.ReadableRows(f"bundle {source.name}")
        try:
            database = file_format.unsealed(source.read(), source.name)
            self._connection = _connect(source.path, database)
            try:
                self._check()
            # Raised again. Whatever it is, an interrupt too, nobody else could close the connection.
            except BaseException:
                self._connection.close()
                raise
        except OSError as error:
            raise StoreUnavailable(
                f"Can't read the bundle {source.name}: {error.strerror or error}. Install its package again, or take "
                "it out of TUNEDB_BUNDLES."
            ) from error
        except (sqlite3.Error, AttributeError) as error:  # the second of a Python whose SQLite can't deserialize
            raise StoreUnavailable(
                f"Refused {source.name}: it can't be read as a bundle ({first_line(error)}). Install its package "
                "again, or take it out of TUNEDB_BUNDLES."
            ) from error

    def _check(self) -> None:
        """Raise StoreUnavailable unless the file defines our tables and nothing else. Uses none of them."""
        found = self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        expected = {("table", name, name, sql) for name, sql in file_format.TABLES.items()}
        if set(found) != expected:
            odd = next((row for row in found if row not in expected), None)
            what = "no table of that name" if odd is None else f"the {odd[0]} {odd[1]!r:.80}"
            raise StoreUnavailable(
                f"Refused {self.name}: expected the tables of a bundle and nothing else, got {what}: a SQLite file can "
                "run its author's program. Install its package again, or take it out of TUNEDB_BUNDLES."
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of that identity, without trials."""
        identity = {"kernel": problem.kernel, "kernel_hash": kernel_hash, "device": device.digest}
        values = {**identity, "problem": problem.key}
        return records.in_order(self._sweeps(_OF_PROBLEM, values, problem=problem, device=device))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the sweeps of a kernel on a device, the newest first, at most `most`, without trials."""
        identity = {"kernel": kernel, "kernel_hash": kernel_hash, "device": device.digest}
        limit = statements.NO_LIMIT if most is None else most
        return list(self._sweeps(_NEWEST_OF_KERNEL, {**identity, "most": limit}, device=device))

    def iter_sweeps(self) -> Iterator[Sweep]:
        """Yield all sweeps with their trials, by kernel, problem and device."""
        return self._sweeps(_ALL, {}, with_trials=True)

    def find(self, uid: str) -> list[Sweep]:
        """Return the sweeps whose uids begin like this, with their trials: at most two."""
        return list(self._sweeps(_BY_UID, {"uid": uid}, with_trials=True))

    def _sweeps(
        self, statement: str, values: Mapping[str, Any], *, with_trials: bool = False, **known: Any
    ) -> Iterator[Sweep]:
        selected = self._rows(statement, values, _SWEEP)
        trials = self._trials() if with_trials else {}
        return self._readable(selected, lambda row: self._sweep(row, trials.get(row.id, ()), known))

    def _sweep(self, row: Any, trials: Sequence[Trial], known: Mapping[str, Any]) -> Sweep:
        row.started, row.finished = rows.time_from_text(row.started), rows.time_from_text(row.finished)
        row.complete = bool(row.complete)
        # What a bundle leaves out. As it has winners alone, nothing of it concerns another machine.
        row.status, row.expires, row.arrived, row.origin, row.host = "tuned", None, None, "imported", ""
        sweep = records.to_sweep(row, trials, **known)
        return dataclasses.replace(sweep, layer=Layer.BUNDLE, bundle=self.name)

    def _trials(self) -> dict[int, list[Trial]]:
        by_sweep: dict[int, list[Trial]] = defaultdict(list)
        selected = self._rows(f"SELECT sweep, {', '.join(_TRIAL)} FROM trial", {}, ("sweep", *_TRIAL))

        def trial_of(row: Any) -> tuple[int, Trial]:
            row.error = None
            return row.sweep, records.to_trial(row)

        for sweep, trial in self._readable(selected, trial_of):
            by_sweep[sweep].append(trial)
        return by_sweep

    def _rows(self, statement: str, values: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
        selected = self._connection.execute(statement, values).fetchall()
        return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in selected]


def _connect(path: Path | None, database: bytes) -> sqlite3.Connection:
    """Connect to the file, or to a copy in memory of one that has no path of its own, such as a file in a zip."""
    # immutable: no lock, no journal, and no write, so that a read-only image or a network's file system will do.
    target = ":memory:" if path is None else f"{path.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(target, uri=True, isolation_level=None, check_same_thread=False)
    try:
        if path is None:
            connection.deserialize(database)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA query_only=ON")
        if sys.version_info >= (3, 12):
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
        connection.text_factory = lambda stored: stored.decode(errors="surrogateescape")  # refused with its row
    # Raised again. Whatever it is, an interrupt too, nobody else could close the connection.
    except BaseException:
        connection.close()
        raise
    return connection
