"""Finished sweeps that a shared store has not taken yet, each with the way to send it, until it takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tunedb.errors import StoreUnavailable

if TYPE_CHECKING:
    from tunedb.store import Store

Send = Callable[["Store"], object]


class UnsentSweeps:
    """The sweeps of this process that are to be sent, by uid. More than `most` are only counted, the oldest first.

    What is not sent is in the local store, so `tunedb sync` can send it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.renew()

    def renew(self) -> None:
        """Forget all in a forked child: the parent sends its own sweeps."""
        self._finished = 0
        self._sent = 0
        self._waiting: dict[str, Send] = {}

    @property
    def number(self) -> int:
        """How many sweeps were not sent, also if they will not be."""
        return self._finished - self._sent

    def count(self) -> None:
        """Count one more."""
        self._finished += 1

    def keep(self, uid: str, send: Send) -> None:
        """Keep a sweep that was counted."""
        while len(self._waiting) >= self._most:
            self._waiting.pop(next(iter(self._waiting)), None)
        self._waiting[uid] = send

    def give_up(self) -> None:
        """Keep none: the store will never take them."""
        self._waiting.clear()

    def has_waiting(self) -> bool:
        """Say whether a sweep is kept."""
        return bool(self._waiting)

    def send(self, store: Store, uid: str) -> None:
        """Send a sweep, unless it was sent. It is kept if the store is away, and not if the store refuses its rows."""
        send = self._waiting.pop(uid, None)
        if send is None:
            return
        try:
            send(store)
        except StoreUnavailable:
            self._waiting[uid] = send
            raise
        self._sent += 1

    def send_all(self, store: Store) -> None:
        """Send all that are kept, until the store fails."""
        for uid in list(self._waiting):
            self.send(store, uid)
