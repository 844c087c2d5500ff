"""A store as commands read it: a SQLite file that is in order needs no SQLAlchemy, which is slow to load."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.errors import StoreError
from tunedb.store.local import LocalStore, path_of
from tunedb.store.sql.sqlite_listing import SqliteListing

if TYPE_CHECKING:
    from tunedb.store import Store

BUSY_TIMEOUT_S = 30.0  # as `open_store` waits for a writer


class ReadStore(LocalStore):
    """A SQLite store that exists, with the lists of its sweeps and devices. `whole` has all methods."""

    def __init__(self, listing: SqliteListing, url: str) -> None:
        self._listing = listing
        self._url = url
        super().__init__(listing, self._opened)

    def _opened(self) -> Store | None:
        from tunedb.store import open_store

        return open_store(self._url, migrate=False, create=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def upkeep(self) -> SqliteListing:
        """What the store has sweeps of."""
        return self._listing

    def get_sweep(self, uid: str) -> Sweep:
        """Return the sweep with this uid, or with the only one that starts like this: see `Store`."""
        return self.whole.get_sweep(uid)

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the finished sweeps of that problem on any device, of any kernel hash, without trials."""
        return self._listing.get_problem_sweeps(problem)

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
        """
        if with_trials:
            return self.whole.iter_sweeps(
                kernel=kernel, device_name=device_name, finished=finished, with_trials=True, latest=latest
            )
        return self._listing.iter_sweeps(kernel=kernel, device_name=device_name, finished=finished, latest=latest)


def open_to_read(url: str) -> Store | ReadStore | None:
    """Open the store at a path or URL as it is; return None if there is none. Raises StoreError."""
    path = path_of(url)
    if path is not None:
        listing = SqliteListing(path, BUSY_TIMEOUT_S)
        try:
            listing.check()
        except StoreError:  # the whole store says more about it
            listing.release()
        else:
            return ReadStore(listing, url)
    from tunedb.store import open_store

    return open_store(url, migrate=False, create=False)
