"""A store that is opened at its first use, and again after a failure: its file may be another one by then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tunedb._internal import forks
from tunedb.errors import StoreBusy, StoreError
from tunedb.store.local import LocalStore, NotLoaded

if TYPE_CHECKING:
    from tunedb.store import Store

OPENING_S = 5.0  # to wait for another thread that opens the store; it may hang

_T = TypeVar("_T")


class ReopeningStore:
    """A store that `opener` opens. If it returns None, there is no store yet: it is called again at the next use."""

    def __init__(self, opener: Callable[[], Store | LocalStore | None]) -> None:
        self._opener = opener
        self.renew()
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Start again in a forked child: connections are the parent's."""
        self._store: Store | LocalStore | None = None
        self._opening = threading.Lock()  # two threads that open one in memory would have two

    @property
    def is_open(self) -> bool:
        """Whether the store was opened, and has not failed since."""
        return self._store is not None

    @property
    def is_whole(self) -> bool:
        """Whether the store is open for writing, too."""
        store = self._store
        return store.is_whole if isinstance(store, LocalStore) else store is not None

    def open_whole(self) -> None:
        """Open the store for writing. Raises StoreError."""
        self.run(lambda store: store.whole if isinstance(store, LocalStore) else None)

    def run(self, work: Callable[[Any], _T], *, again: bool = True) -> _T | None:
        """Return what `work` returns, or None if there is no store; raise what it raises.

        After a failure the store is forgotten; with `again`, it is opened again at once if the failure was not that of
        a store just opened: the file was removed, emptied, replaced or upgraded since.
        """
        was_open = self._store is not None
        store = self._opened()
        if store is None:
            return None
        try:
            return work(store)
        except (StoreBusy, NotLoaded):
            raise
        except StoreError:
            if self._store is store:  # else another thread has opened it again already
                self.release()
                self._store = None
            if not (again and was_open):
                raise
        return self.run(work, again=False)

    def _opened(self) -> Store | LocalStore | None:
        store = self._store  # once: another thread whose access failed may drop it at any moment
        if store is not None:
            return store
        has_lock = self._opening.acquire(timeout=OPENING_S)
        try:
            store = self._store
            if store is None:
                store = self._store = self._opener()
            return store
        finally:
            if has_lock:
                self._opening.release()

    def release(self) -> None:
        """Close what the store keeps open for the next read."""
        store = self._store
        if isinstance(store, LocalStore):
            store.release()

    def close(self) -> None:
        """Close the store; it can be used again."""
        store, self._store = self._store, None
        if store is not None:
            store.close()
