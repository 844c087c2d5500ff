"""Reads one bundle by the standard library's `sqlite3`: what is in the file is data, and nothing of it is run."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Layer, Sweep, Trial, listed_order
from tunedb.store.bundle import file_format
from tunedb.store.bundle.file_format import BundleRefused
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
_ANY_DEVICE = f"{_SELECT} AND kernel.name = :kernel AND sweep.problem = :problem"
_LISTED = (
    f"{_SELECT} AND (:kernel IS NULL OR kernel.name = :kernel) AND (:device IS NULL OR device.name = :device) "
    "ORDER BY sweep.finished DESC, sweep.uid DESC LIMIT :latest"
)
_FACTS = ("name", "backend", "arch", "multiprocessors", "info")
_DEVICES = (
    f"SELECT {', '.join(_FACTS)} FROM device WHERE :kernel IS NULL OR EXISTS (SELECT 1 FROM kernel CROSS JOIN sweep "
    "WHERE kernel.name = :kernel AND sweep.kernel = kernel.id AND sweep.device = device.id)"
)
_DEVICES_OF_HASH = (
    f"SELECT {', '.join(_FACTS)} FROM device WHERE EXISTS (SELECT 1 FROM kernel CROSS JOIN sweep "
    "WHERE kernel.hash = :kernel_hash AND sweep.kernel = kernel.id AND sweep.device = device.id)"
)
_HASHES = "SELECT hash FROM kernel"
_DIGESTS = "SELECT digest FROM device"
_KERNELS = "SELECT DISTINCT name FROM kernel"
_TRIED = (
    "SELECT DISTINCT trial.config FROM kernel CROSS JOIN sweep CROSS JOIN trial "
    "WHERE kernel.name = :kernel AND sweep.kernel = kernel.id AND trial.sweep = sweep.id "
    "UNION SELECT sweep.config FROM kernel CROSS JOIN sweep "
    f"WHERE kernel.name = :kernel AND sweep.kernel = kernel.id LIMIT {statements.MAX_TRIED}"
)
_PROBLEMS = (
    "SELECT DISTINCT kernel.name, sweep.problem FROM kernel CROSS JOIN sweep "
    "WHERE kernel.name = :kernel AND sweep.kernel = kernel.id ORDER BY sweep.problem"
)
_CONFIRMATION = ("sweep_uid", "uid", "environment", "time_us", "default_time_us", "time")
_CONFIRMATIONS = (
    "SELECT :uid, confirmation.uid, environment.key, confirmation.time_us, confirmation.default_time_us, "
    "confirmation.time FROM confirmation CROSS JOIN environment "
    "WHERE confirmation.sweep = :sweep AND environment.id = confirmation.environment "
    f"ORDER BY confirmation.time DESC, confirmation.uid LIMIT {statements.MAX_MARKS}"
)
_IS_CONFIRMED = "SELECT EXISTS (SELECT 1 FROM confirmation)"
_TRIAL = ("uid", "config", "status", "outcome", "reference", *rows.TIMES, *rows.NUMBERS)
_TRIALS = f"SELECT {', '.join(_TRIAL)} FROM trial WHERE sweep = :sweep"


class Bundle:
    """One bundle, opened: its sweeps, without what concerns the machines that tuned them.

    Raises BundleRefused if it is not one that tunedb wrote, of this version and undamaged; later reads raise
    sqlite3.Error if the file fails.
    """

    def __init__(self, source: BundleSource) -> None:
        self.name = source.name
        self.is_own = source.is_own
        self._readable = records.ReadableRows(f"bundle {source.name}")
        try:
            database = file_format.unsealed(source.read(), source.name)
            self._connection = _connect(source.path, database)
            try:
                self._check()
                self._kernels = frozenset(kernel_hash for (kernel_hash,) in self._connection.execute(_HASHES))
                self._has_confirmations = bool(self._connection.execute(_IS_CONFIRMED).fetchone()[0])
                self._digests = frozenset(digest for (digest,) in self._connection.execute(_DIGESTS))
            # Raised again. Whatever it is, an interrupt too, nobody else could close the connection.
            except BaseException:
                self._connection.close()
                raise
        except OSError as error:
            raise BundleRefused(f"Can't read the bundle {source.name}: {error.strerror or error}.") from error
        except (sqlite3.Error, AttributeError) as error:  # the second of a Python whose SQLite can't deserialize
            raise BundleRefused(
                f"Refused {source.name}: it can't be read as a bundle ({first_line(error)})."
            ) from error

    def _check(self) -> None:
        """Raise BundleRefused unless the file defines our tables and nothing else. Uses none of them."""
        found = self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        expected = {("table", name, name, sql) for name, sql in file_format.TABLES.items()}
        if set(found) != expected:
            odd = next((row for row in found if row not in expected), None)
            what = "no table of that name" if odd is None else f"the {odd[0]} {odd[1]!r:.80}"
            raise BundleRefused(
                f"Refused {self.name}: expected the tables of a bundle and nothing else, got {what}: a SQLite file can "
                "run its author's program."
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def is_empty(self) -> bool:
        """Whether it has no sweeps. Reads nothing."""
        return not self._kernels

    def may_have(self, kernel_hash: str, device: Device | None = None) -> bool:
        """Say whether there may be sweeps of a kernel, on that device or on any. Reads nothing."""
        return kernel_hash in self._kernels and (device is None or device.digest in self._digests)

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

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that sweeps of a kernel are of, by the kernel's hash."""
        selected = self._rows(_DEVICES_OF_HASH, {"kernel_hash": kernel_hash}, _FACTS)
        return list(self._readable(selected, records.to_device))

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the sweeps of that problem on any device, of any kernel hash, without trials."""
        values = {"kernel": problem.kernel, "problem": problem.key}
        return records.in_order(self._sweeps(_ANY_DEVICE, values, problem=problem))

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        latest: int | None = None,
        with_trials: bool = True,
    ) -> Iterator[Sweep]:
        """Yield the sweeps of a kernel and a device, or all, by kernel, problem and device.

        With `latest`, only as many as that, those that ended last.
        """
        limit = statements.NO_LIMIT if latest is None else latest
        values = {"kernel": kernel, "device": device_name, "latest": limit}
        newest_first = list(self._sweeps(_LISTED, values, with_trials=with_trials))
        newest_first.reverse()  # sorting keeps the order of equals
        return iter(sorted(newest_first, key=listed_order))

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that sweeps are of: those of a kernel, or of all."""
        return list(self._readable(self._rows(_DEVICES, {"kernel": kernel}, _FACTS), records.to_device))

    def kernels(self) -> list[str]:
        """Return the names of the kernels, sorted."""
        return sorted(row.name for row in self._rows(_KERNELS, {}, ("name",)) if isinstance(row.name, str))

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that sweeps are of, sorted."""
        return list(self._readable(self._rows(_PROBLEMS, {"kernel": kernel}, ("kernel", "key")), records.to_problem))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs of a kernel whose trials are here, and the winners, each once."""
        return list(self._readable(self._rows(_TRIED, {"kernel": kernel}, ("config",)), records.to_config))

    def find(self, uid: str) -> list[Sweep]:
        """Return the sweeps whose uids begin like this, with their trials: at most two."""
        return list(self._sweeps(_BY_UID, {"uid": uid}, with_trials=True))

    def _sweeps(
        self, statement: str, values: Mapping[str, Any], *, with_trials: bool = False, **known: Any
    ) -> Iterator[Sweep]:
        selected = self._rows(statement, values, _SWEEP)
        return self._readable(
            selected, lambda row: self._sweep(row, self._trials(row.id) if with_trials else (), known)
        )

    def _sweep(self, row: Any, trials: Sequence[Trial], known: Mapping[str, Any]) -> Sweep:
        row.started, row.finished = rows.time_from_text(row.started), rows.time_from_text(row.finished)
        row.complete = bool(row.complete)
        # What a bundle leaves out. As it has winners alone, nothing of it concerns another machine.
        row.status, row.expires, row.arrived, row.origin, row.host = "tuned", None, None, "imported", ""
        confirmations = self._confirmations(row) if self._has_confirmations else ()
        return records.to_sweep(row, trials, **known, confirmations=confirmations, layer=Layer.BUNDLE, bundle=self.name)

    def _confirmations(self, sweep: Any) -> list[Confirmation]:
        selected = self._rows(_CONFIRMATIONS, {"uid": sweep.uid, "sweep": sweep.id}, _CONFIRMATION)
        return [confirmation for _, confirmation in self._readable(selected, _confirmation)]

    def _trials(self, sweep: int) -> list[Trial]:
        return list(self._readable(self._rows(_TRIALS, {"sweep": sweep}, _TRIAL), _trial))

    def _rows(self, statement: str, values: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
        selected = self._connection.execute(statement, values).fetchall()
        return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in selected]


def _confirmation(row: Any) -> tuple[str, Confirmation]:
    row.time = rows.time_from_text(row.time)
    return records.to_confirmation(row)


def _trial(row: Any) -> Trial:
    row.error = None
    return records.to_trial(row)


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
