"""The local store as a call uses it: look-ups in a SQLite file need no SQLAlchemy, all else opens the whole store."""

from __future__ import annotations

import functools
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal import forks, safe_path
from tunedb._internal.control import let_pass, suppress
from tunedb._internal.redact import is_path
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, Sweep, Trial, UsageCount
from tunedb.errors import StoreCorrupt, StoreError, StoreUnavailable
from tunedb.settings import expand
from tunedb.store.claim_keeper import ClaimKeeper
from tunedb.store.interface import SweepStore

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.hosts import HostSum
    from tunedb.store.sql.sqlite_listing import SqliteListing

_T = TypeVar("_T")


class NotLoaded(StoreError):
    """Opening this store takes SQLAlchemy, which is to be imported first."""


@functools.cache
def load_sqlalchemy(url: str) -> None:
    """Import what opening the store of that URL by SQLAlchemy needs, its driver too. Connects to nothing."""
    with suppress(Exception):  # whatever it is, opening will say it
        from tunedb.store.sql import engine, schema, store  # noqa: F401

        engine.locate(url)


class LocalOpener:
    """Opens the store of a path or URL. Look-ups in a SQLite file that is in order import no SQLAlchemy."""

    def __init__(self, url: str, *, busy_timeout: float, writable: bool) -> None:
        self._url = url
        self._busy_timeout = busy_timeout
        self._writable = writable
        self._is_loaded = False

    def load(self) -> None:
        """Import what opening the whole store needs. It is no wait for a store, so no caller limits its time."""
        load_sqlalchemy(self._url)
        if self.is_new():
            with suppress(Exception):
                from tunedb.store.sql import schema

                schema.load_alembic()
        self._is_loaded = True

    def is_new(self) -> bool:
        """Say whether a store is to be made: its path has no file, or an empty one that another process may fill."""
        path = _plain_path(self._url)
        if path is None or not self._writable:
            return False
        if self._has_no_file():
            return True
        try:
            file = expand(path).stat()
        # No home folder, no permission, a NUL, a path that is too long: opening the store will say so.
        except (OSError, RuntimeError, ValueError) as error:
            let_pass(error)
            return False
        return stat.S_ISREG(file.st_mode) and not file.st_size

    def __call__(self) -> Store | LocalStore | None:
        """Open it; return None if there is none, and none may be made.

        Raises NotLoaded, before `load`, if it is no SQLite file of this version's schema, is damaged or is to be made.
        """
        reader = self._reader()
        if reader is not None:
            try:
                reader.check()
            except StoreError:  # the whole store repairs it, or says more about it
                reader.release()
            else:
                return LocalStore(reader, self._open_whole, lambda: self._is_loaded)
        elif not self._writable and self._has_no_file():
            return None
        if not self._is_loaded:
            raise NotLoaded(f"{self._url} can't be opened without SQLAlchemy.")
        return self._open_whole()

    def _has_no_file(self) -> bool:
        path = _plain_path(self._url)
        try:
            if path is not None:
                expand(path).stat()
        except FileNotFoundError:
            return True
        # As in `is_new`.
        except (OSError, RuntimeError, ValueError) as error:
            let_pass(error)
        return False

    def _reader(self) -> SqliteListing | None:
        path = path_of(self._url)
        if path is None:
            return None
        from tunedb.store.sql.sqlite_listing import SqliteListing

        return SqliteListing(path, self._busy_timeout)

    def _open_whole(self) -> Store | None:
        from tunedb.store import open_store

        return open_store(self._url, busy_timeout=self._busy_timeout, migrate=self._writable, create=self._writable)


def _plain_path(url: str) -> str | None:
    """Return the path in a path or a plain URL of a SQLite file; None for anything else."""
    path = url.removeprefix("sqlite:///")
    if not is_path(path) or path in ("", ":memory:") or (path != url and ("?" in path or path.startswith("file:"))):
        return None
    return path


def path_of(url: str) -> Path | None:
    """Return the real path of the SQLite file that a path or a plain URL names; None if there is none."""
    path = _plain_path(url)
    if path is None:
        return None
    try:
        real = safe_path.resolve(expand(path))
        return real if real.stat().st_size else None
    # Not there, another user's, a loop of links, no home folder: opening the whole store says so, or makes it.
    except (OSError, RuntimeError, ValueError) as error:
        let_pass(error)
        return None


class LocalStore(SweepStore):
    """A SQLite store that exists. `open_whole` opens it by SQLAlchemy, at the first use that the reader can't serve.

    A read that needs it raises NotLoaded, unless it is open or `is_loaded`.
    """

    def __init__(
        self,
        reader: SqliteListing,
        open_whole: Callable[[], Store | None],
        is_loaded: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reader = reader
        self._open_whole = open_whole
        self._is_loaded = is_loaded
        self.renew()
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Start again in a forked child: the parent may be opening the store."""
        self._opening = threading.Lock()
        self._whole: Store | None = None

    @property
    def claim_keepers(self) -> Sequence[ClaimKeeper]:
        """The claims of the whole store."""
        return self.whole.claim_keepers

    @property
    def is_whole(self) -> bool:
        """Whether the store is open with all of its methods."""
        return self._whole is not None

    @property
    def whole(self) -> Store:
        """The store with all of its methods."""
        with self._opening:
            if self._whole is None:
                self._whole = self._open_whole()
            if self._whole is None:
                raise StoreUnavailable(f"{self._reader.url} was removed. Try again.")
            return self._whole

    def _read(self, read: Callable[[SqliteListing | Store], _T]) -> _T:
        try:
            return read(self._reader)
        except StoreCorrupt:
            return read(self.whole)  # which sets the file aside, if it may

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the finished sweeps of that problem, device and kernel."""
        return self._read(lambda store: store.get_sweeps(problem, device, kernel_hash))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the finished sweeps of a kernel on a device, the newest first."""
        return self._read(lambda store: store.get_kernel_sweeps(kernel, device, kernel_hash, most))

    def get_wrong_configs(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> Collection[Config]:
        """Return the configs that were found wrong here."""
        return self._read(lambda store: store.get_wrong_configs(problem, device, kernel_hash, environment))

    def get_tried_keys(self, sweep_uid: str) -> Collection[str]:
        """Return the keys of the configs that a sweep tried."""
        return self._read(lambda store: store.get_tried_keys(sweep_uid))

    def get_confirmations_of(self, sweep_uids: list[str]) -> dict[str, list[Confirmation]]:
        """Return the confirmations of these sweeps by uid."""
        return self._read(lambda store: store.get_confirmations_of(sweep_uids))

    def get_marks_of(self, sweep_uids: list[str]) -> dict[str, list[Mark]]:
        """Return the marks of these sweeps by uid."""
        return self._read(lambda store: store.get_marks_of(sweep_uids))

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that tuned sweeps of a kernel are of."""
        return self._read(lambda store: store.get_devices(kernel_hash))

    def get_hints(self, kernel: str, device: str) -> list[Hint]:
        """Return the newest hints of a kernel on the device with that label."""
        return self._read(lambda store: store.get_hints(kernel, device))

    def get_unfinished(
        self, problem: Problem, device: Device, kernel_hash: str, environment: Environment
    ) -> list[Sweep]:
        """Return this host's own unfinished sweeps of this problem."""
        may_have = True
        with suppress(StoreCorrupt):  # the whole store sets the file aside, if it may
            may_have = self._reader.has_unfinished(problem, device, kernel_hash, environment)
        if not may_have:
            return []
        return self._for_reading().get_unfinished(problem, device, kernel_hash, environment)

    def get_whole(self, sweep_uids: Collection[str]) -> Iterator[list[Sweep]]:
        """Yield the sweeps with their trials."""
        return self._for_reading().get_whole(sweep_uids)

    def _for_reading(self) -> Store:
        if not (self.is_whole or self._is_loaded()):
            raise NotLoaded(f"{self._reader.url} can't be read for this without SQLAlchemy.")
        return self.whole

    def start_sweep(self, sweep: Sweep) -> None:
        """Keep a running sweep."""
        self.whole.start_sweep(sweep)

    def put_trial(self, sweep_uid: str, trial: Trial) -> None:
        """Keep a trial of a running sweep."""
        self.whole.put_trial(sweep_uid, trial)

    def finish_sweep(self, sweep: Sweep) -> None:
        """Give a running sweep its outcome."""
        self.whole.finish_sweep(sweep)

    def add_usage(self, counts: Iterable[UsageCount]) -> None:
        """Add to the usage counts. Those of problems that are stored, as each hit's, need no SQLAlchemy."""
        counts = list(counts)
        if not self._read(lambda store: store.add_usage(counts) is not False):
            self.whole.add_usage(counts)

    def get_own_counts(self, since: datetime) -> list[HostSum]:
        """Return what hosts counted in this store since then, by host and day."""
        return self.whole.get_own_counts(since)

    def release(self) -> None:
        """Close the connection that is kept for the next read."""
        self._reader.release()

    def close(self) -> None:
        """Close the connections. Does not wait for a thread that opens the store: it may hang, and keeps none open."""
        self.release()
        whole, self._whole = self._whole, None
        if whole is not None:
            whole.close()


def whole_of(store: Store | LocalStore) -> Store:
    """Return the store with all of its methods."""
    return store.whole if isinstance(store, LocalStore) else store
